/** The browser's own dialog: it keeps the focus inside, closes with Escape and gives the focus back. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { question } from "../actions";
import { Button } from "./basic";

export function Dialog({
  title,
  close,
  children,
  wide,
}: {
  title: string;
  close: () => void;
  children: ComponentChildren;
  wide?: boolean;
}): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal();
    return () => box.current?.close();
  }, []);
  return (
    <dialog
      ref={box}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={close}
      onClick={(event) => {
        if (event.target === box.current) close();
      }}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <h2>{title}</h2>
          <Button kind="quiet" icon="close" label="Close" onClick={close} />
        </div>
        {children}
      </div>
    </dialog>
  );
}

export function Confirm(): JSX.Element | null {
  const asked = question.value;
  const [typed, setTyped] = useState("");
  useEffect(() => setTyped(""), [asked]);
  if (!asked) return null;
  const close = (): void => {
    question.value = null;
  };
  const sure = !asked.typed || typed.trim() === asked.typed;
  const submit = (event: Event): void => {
    event.preventDefault();
    if (!sure) return;
    close();
    asked.run();
  };
  return (
    <Dialog title={asked.title} close={close}>
      <form onSubmit={submit}>
        <p>{asked.text}</p>
        {asked.typed && (
          <label class="field">
            <span>
              Type <b class="mono">{asked.typed}</b> to go on
            </span>
            <input
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
              autocomplete="off"
              spellcheck={false}
              autofocus
            />
          </label>
        )}
        <div class="dialog-end">
          <Button onClick={close}>Not now</Button>
          <button
            type="submit"
            class={`button ${asked.danger ? "danger" : "main"}`}
            disabled={!sure}
            autofocus={!asked.typed}
          >
            {asked.action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
