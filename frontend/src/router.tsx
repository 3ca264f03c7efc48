/** The address bar is the state: a path below <base>, and a query. The demo keeps both behind a #, so that any file server can serve it. */
import { signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";

export interface Route {
  path: string;
  query: URLSearchParams;
}
export type Query = Record<string, string | number | null | undefined>;

let hashed = false;
const base = (): string => new URL(document.baseURI).pathname;

function read(): Route {
  const text = hashed ? location.hash.slice(1) || "/" : location.pathname.slice(base().length - 1) + location.search;
  const url = new URL(text.replace(/^\/*/, "/"), "http://route");
  return { path: url.pathname.replace(/(.)\/$/, "$1"), query: url.searchParams };
}

export const route = signal<Route>({ path: "/", query: new URLSearchParams() });

export function startRouter(options: { hash?: boolean } = {}): void {
  hashed = options.hash ?? false;
  route.value = read();
  addEventListener("popstate", () => {
    route.value = read();
  });
}

/** The address of a path and a query below <base>. Empty values are left out. */
export function address(to: string, query: Query = {}): string {
  const [path, text = ""] = to.split("?");
  const params = new URLSearchParams(text);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") params.delete(name);
    else params.set(name, String(value));
  }
  const tail = params.size ? `?${params}` : "";
  return hashed ? `#${path}${tail}` : base() + path.slice(1) + tail;
}

/** The range is kept from page to page; everything else in the query belongs to its page. */
const kept = (): Query => ({ range: route.value.query.get("range") });

export function go(to: string, query: Query = {}, replace = false): void {
  const url = address(to, { ...kept(), ...query });
  history[replace ? "replaceState" : "pushState"](null, "", url);
  route.value = read();
  if (replace) return;
  scrollTo(0, 0);
  // The new page is where reading and tabbing go on, as after a real one.
  document.getElementById("main")?.focus({ preventScroll: true });
}

/** Change some of the query and stay. `replace`: without a step in the history, for what is typed. */
export function setQuery(change: Query, replace = false): void {
  const query = { ...Object.fromEntries(route.value.query), ...change };
  history[replace ? "replaceState" : "pushState"](null, "", address(route.value.path, query));
  route.value = read();
}

export const param = (name: string, otherwise = ""): string => route.value.query.get(name) ?? otherwise;

/** The names in `path` where `pattern` has a colon: match("/jobs/:id", "/jobs/7") is {id: "7"}. Null when it is another path. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  if (wanted.length !== given.length) return null;
  const found: Record<string, string> = {};
  for (let index = 0; index < wanted.length; index++) {
    if (wanted[index].startsWith(":")) found[wanted[index].slice(1)] = decode(given[index]);
    else if (wanted[index] !== given[index]) return null;
  }
  return found;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

interface LinkProps {
  to: string;
  query?: Query;
  class?: string;
  title?: string;
  children?: ComponentChildren;
  onClickCapture?: () => void;
  "aria-current"?: "page";
  "aria-label"?: string;
}

export function Link({ to, query, ...rest }: LinkProps): JSX.Element {
  const click = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    event.preventDefault();
    go(to, query);
  };
  return <a {...rest} href={address(to, { ...kept(), ...query })} onClick={click} />;
}

export const jobPath = (id: string): string => `/jobs/${encodeURIComponent(id)}`;
export const workflowPath = (id: string): string => `/workflows/${encodeURIComponent(id)}`;
export const queuePath = (name: string): string => `/queues/${encodeURIComponent(name)}`;
export const workerPath = (id: string): string => `/workers/${encodeURIComponent(id)}`;
export const taskPath = (name: string): string => `/tasks/${encodeURIComponent(name)}`;
