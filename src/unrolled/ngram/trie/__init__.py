"""The packed trie that holds a model, and the tables that it is made from."""
