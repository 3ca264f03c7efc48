/** Arguments, results and tracebacks: text nodes only, whatever they hold. */
import type { JSX } from "preact";
import { bytes } from "../format";
import { printJson } from "../json";
import { may } from "../settings";
import type { Payload } from "../types";
import { Button, CopyButton } from "./basic";
import { Icon } from "./icons";

const WORD = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g;

/** JSON in colours. Each piece is a text node. */
export function Json({ text }: { text: string }): JSX.Element {
  const parts: (JSX.Element | string)[] = [];
  let end = 0;
  for (const found of text.slice(0, 100_000).matchAll(WORD)) {
    const [whole, string, colon] = found;
    parts.push(text.slice(end, found.index));
    const kind = string ? (colon ? "json-name" : "json-string") : /^[tfn]/.test(whole) ? "json-word" : "json-number";
    parts.push(<span class={kind}>{string ?? whole}</span>, colon ?? "");
    end = found.index + whole.length;
  }
  return (
    <>
      {parts}
      {text.slice(end)}
    </>
  );
}

export function PayloadView({
  payload,
  name,
  reveal,
}: {
  payload: Payload;
  name: string;
  reveal?: () => void;
}): JSX.Element {
  if (payload.hidden) {
    return (
      <div class="hidden-payload">
        <Icon name="eye" />
        <span>
          {name} hidden, {bytes(payload.size)}
        </span>
        {reveal && may("admin") && (
          <Button icon="eye" onClick={reveal}>
            Reveal
          </Button>
        )}
        <p class="faint">{may("admin") ? "Revealing is written to the audit log." : "An admin may reveal them."}</p>
      </div>
    );
  }
  const text = printJson(payload.value);
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={name}>
        <Json text={text} />
      </pre>
      <CopyButton text={text} />
      {payload.cut && (
        <p class="cut-note">
          Cut: the first {bytes(text.length)} of {bytes(payload.size)}.
        </p>
      )}
    </div>
  );
}

const LIBRARY = /site-packages|dist-packages|\/lib\/python|<frozen /;

/** A traceback with the user's own frames in full ink and those of libraries in grey. */
export function Traceback({ text }: { text: string }): JSX.Element {
  let library = false;
  return (
    <div class="code traceback">
      <pre tabIndex={0} aria-label="Traceback">
        {text
          .replace(/\n$/, "")
          .split("\n")
          .map((line, index, all) => {
            if (/^\s+File "/.test(line)) library = LIBRARY.test(line);
            else if (!/^\s/.test(line)) library = false;
            const last = index === all.length - 1;
            return (
              <span key={index} class={last ? "error-line" : library ? "faint" : /^\s+File/.test(line) ? "frame" : ""}>
                {line}
                {"\n"}
              </span>
            );
          })}
      </pre>
      <CopyButton text={text} />
    </div>
  );
}
