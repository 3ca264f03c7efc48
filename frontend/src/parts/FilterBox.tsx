/** The filter of the jobs: one line of tokens, completed as it is typed. It is applied with Enter, or when a completion is taken. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { complete, TOKENS, unknown } from "../filter";
import { useKeys } from "../keys";
import { Icon } from "./icons";

interface Props {
  q: string;
  values: Record<string, readonly string[]>;
  apply: (q: string) => void;
  begin: () => void;
}

export function FilterBox({ q, values, apply, begin }: Props): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(q);
  const [caret, setCaret] = useState(0);
  const [at, setAt] = useState(-1);
  const [open, setOpen] = useState(false);
  useEffect(() => setText(q), [q]);
  useKeys({
    "/": () => {
      input.current?.focus();
      input.current?.select();
    },
  });
  const offers = open ? complete(text, caret, values) : [];
  const strange = unknown(text);

  const take = (index: number): void => {
    const offer = offers[index];
    setText(offer.q);
    setCaret(offer.caret);
    setAt(-1);
    if (offer.q.slice(0, offer.caret).endsWith(" ")) apply(offer.q.trim());
    // After the new text is in the field, or the browser puts the caret at its end.
    requestAnimationFrame(() => {
      input.current?.focus();
      input.current?.setSelectionRange(offer.caret, offer.caret);
    });
  };
  const press = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && offers.length) {
      event.preventDefault();
      setAt((at + step + offers.length) % offers.length);
    } else if (event.key === "Tab" && open && offers.length && (at >= 0 || /\S$/.test(text.slice(0, caret)))) {
      event.preventDefault();
      take(Math.max(at, 0));
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (at >= 0 && offers[at]) take(at);
      else {
        setOpen(false);
        apply(text.trim());
      }
    } else if (event.key === "Escape") {
      if (open) setOpen(false);
      else input.current?.blur();
    }
  };
  const typed = (event: Event & { currentTarget: HTMLInputElement }): void => {
    setText(event.currentTarget.value);
    setCaret(event.currentTarget.selectionStart ?? 0);
    setAt(-1);
    setOpen(true);
  };
  return (
    <>
      <form
        class="filter"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          apply(text.trim());
        }}
      >
        <Icon name="search" />
        <input
          ref={input}
          type="text"
          value={text}
          placeholder="state:failed queue:media since:24h, or words"
          aria-label="Filter"
          role="combobox"
          aria-expanded={offers.length > 0}
          aria-controls="offers"
          aria-activedescendant={at >= 0 ? `offer-${at}` : undefined}
          autocomplete="off"
          spellcheck={false}
          onInput={typed}
          onKeyDown={press}
          onFocus={() => {
            setOpen(true);
            begin();
          }}
          onBlur={() => setOpen(false)}
          onClick={(event) => setCaret(event.currentTarget.selectionStart ?? 0)}
        />
        {text ? (
          <button
            type="button"
            class="button quiet square"
            aria-label="Clear the filter"
            onClick={() => {
              setText("");
              apply("");
            }}
          >
            <Icon name="close" />
          </button>
        ) : (
          <kbd>/</kbd>
        )}
        {offers.length > 0 && (
          <ul id="offers" role="listbox" aria-label="Completions">
            {offers.map((offer, index) => (
              // The field keeps the focus, or its blur would close the list before the click arrives.
              <li
                key={offer.label}
                id={`offer-${index}`}
                role="option"
                aria-selected={index === at}
                onMouseDown={(event) => {
                  event.preventDefault();
                  take(index);
                }}
              >
                <b class="mono">{offer.label}</b>
                <span>{offer.help}</span>
              </li>
            ))}
          </ul>
        )}
      </form>
      {strange.length > 0 && (
        <p class="filter-note" role="alert">
          There is no {strange.map((one) => `“${one}:”`).join(", ")}. There are{" "}
          {TOKENS.map((one) => one.name).join(" ")}
        </p>
      )}
    </>
  );
}
