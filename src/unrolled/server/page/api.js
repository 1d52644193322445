// Requests to the server that this page came from.

const TOKEN = "unrolled-token";

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

async function send(path, body, signal) {
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { headers, signal };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    if (body.stream) headers.Accept = "application/x-ndjson";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?", 0);
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).error.message;
  } catch {
    // what stands between this page and the server may answer in its own words
  }
  throw new ServerError(message || `The server answers with status ${answer.status}.`, answer.status);
}

export async function get(path) {
  return (await send(path)).json();
}

// The answer to a request; a server that is busy is asked again after a second.
export async function post(path, body, signal) {
  for (let left = 5; ; left--) {
    try {
      return await (await send(path, body, signal)).json();
    } catch (error) {
      if (error.status !== 429 || left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
      signal?.throwIfAborted();
    }
  }
}

// The objects of a streamed answer, one a line.
export async function* stream(path, body, signal) {
  const reader = (await send(path, { ...body, stream: true }, signal)).body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.trim()) yield JSON.parse(line);
    if (done) return;
  }
}
