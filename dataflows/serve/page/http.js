// The door's interface, with the token that the page's own address may carry: ?token=...
const token = new URLSearchParams(location.search).get("token");

export function address(path, query = {}) {
  const url = new URL(path, location.href.split(/[?#]/)[0]);
  for (const [name, value] of Object.entries(query)) [value].flat().forEach((each) => url.searchParams.append(name, each));
  if (token) url.searchParams.set("token", token);
  return url;
}

export async function call(method, path, body, query) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(address(path, query), { method, headers, body: body && JSON.stringify(body) });
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(said.detail ?? response.statusText), { status: response.status });
  return said;
}

export const get = (path, query) => call("GET", path, undefined, query);
export const post = (path, body) => call("POST", path, body);

export function follow(path, query, handlers) {
  const source = new EventSource(address(path, query));
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handle(event.data ? JSON.parse(event.data) : null));
  }
  return () => source.close();
}

export const userPath = (user, what) => `users/${encodeURIComponent(user)}${what ? `/${what}` : ""}`;
