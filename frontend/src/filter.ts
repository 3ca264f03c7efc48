/** The filter language of the jobs list: `state:failed queue:media "no space left"`. The server judges; this reads it for the eye and completes it. */

export interface Token {
  name: string;
  value: string;
  start: number;
  end: number;
}

export const TOKENS: readonly { name: string; help: string }[] = [
  { name: "state:", help: "scheduled, waiting, ready, running, parked, succeeded, failed, cancelled" },
  { name: "queue:", help: "the queue's name" },
  { name: "task:", help: "the task's name; a * at the end: begins with" },
  { name: "error:", help: "the type of the latest error" },
  { name: "since:", help: "made in the last, as 15m, 24h, 7d, or after a time" },
  { name: "until:", help: "made before that long ago, or before a time" },
  { name: "key:", help: "the unique key" },
  { name: "id:", help: "the job's id" },
  { name: "root:", help: "the id of a workflow; a *: the jobs that stand for one" },
  { name: "worker:", help: "the worker that ran it last" },
  { name: "fault:", help: "the fingerprint of a group of failures" },
  { name: "meta.", help: "a tag: meta.tenant:acme" },
  { name: "arg.", help: "an argument: arg.video_id=7" },
];

/** The tokens of `q`, with their places. Words without a name have the name "". Quotes hold blanks together. */
export function tokenise(q: string): Token[] {
  const found: Token[] = [];
  const word = /(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+/g;
  for (let match = word.exec(q); match; match = word.exec(q)) {
    const text = match[0];
    const named = /^(meta\.[^:\s"]+|[a-z]+):|^(arg\.[^=\s"]+)=/.exec(text);
    const name = named ? (named[1] ?? named[2]) : "";
    const value = unquote(named ? text.slice(named[0].length) : text);
    found.push({ name, value, start: match.index, end: match.index + text.length });
  }
  return found;
}

const unquote = (text: string): string =>
  text.replace(/"((?:[^"\\]|\\.)*)"?/g, (_, inside: string) => inside.replace(/\\(.)/g, "$1"));

/** `value` as it is written behind a name: in quotes when it holds a blank or a quote. */
export const quoted = (value: string): string =>
  /[\s"]/.test(value) || !value ? `"${value.replace(/["\\]/g, "\\$&")}"` : value;

export const token = (name: string, value: string): string =>
  !name ? quoted(value) : `${name}${name.startsWith("arg.") ? "=" : ":"}${quoted(value)}`;

/** The values that `q` gives for `name`. */
export const valuesOf = (q: string, name: string): string[] =>
  tokenise(q)
    .filter((one) => one.name === name)
    .map((one) => one.value);

/** `q` with exactly these values for `name`, the other words as they were. */
export function withValues(q: string, name: string, values: readonly string[]): string {
  const kept = tokenise(q)
    .filter((one) => one.name !== name)
    .map((one) => q.slice(one.start, one.end));
  return [...values.map((value) => token(name, value)), ...kept].join(" ");
}

export const toggled = (q: string, name: string, value: string): string => {
  const values = valuesOf(q, name);
  return withValues(q, name, values.includes(value) ? values.filter((one) => one !== value) : [...values, value]);
};

const KNOWN = new Set(TOKENS.filter((one) => one.name.endsWith(":")).map((one) => one.name.slice(0, -1)));

/** The names in `q` that the server would refuse. */
export const unknown = (q: string): string[] =>
  tokenise(q)
    .map((one) => one.name)
    .filter((name) => name && !KNOWN.has(name) && !name.startsWith("meta.") && !name.startsWith("arg."));

export interface Completion {
  label: string;
  help: string;
  q: string;
  caret: number;
}

/** What may follow at `caret`: names of tokens, or the values of the one begun. `values`: what is known to occur, by name. */
export function complete(q: string, caret: number, values: Record<string, readonly string[]>, most = 8): Completion[] {
  const start = q.slice(0, caret).search(/\S*$/);
  const begun = q.slice(start, caret);
  const rest = q.slice(caret).replace(/^\S*/, "");
  const put = (text: string, help: string, closed: boolean): Completion => {
    const head = q.slice(0, start) + text + (closed ? " " : "");
    return { label: text, help, q: head + rest.trimStart(), caret: head.length };
  };
  const colon = begun.indexOf(":");
  if (colon < 0) {
    return TOKENS.filter((one) => one.name.startsWith(begun) && one.name !== begun)
      .slice(0, most)
      .map((one) => put(one.name, one.help, false));
  }
  const [name, typed] = [begun.slice(0, colon), begun.slice(colon + 1).toLowerCase()];
  const known = values[name] ?? [];
  const sorted = [
    ...known.filter((one) => one.toLowerCase().startsWith(typed)),
    ...known.filter((one) => one.toLowerCase().indexOf(typed) > 0),
  ];
  return sorted
    .slice(0, most)
    .map((one) => put(token(name, one), "", true))
    .filter((one) => one.label !== begun);
}
