"""The layers of a tagger: embeddings, characters, stacked recurrent layers, the CRF."""
