/** The keyboard: single keys and two-key ways, silent while somebody types. */
import { useEffect, useRef } from "preact/hooks";

type Handlers = Record<string, (event: KeyboardEvent) => void>;
const layers: { current: Handlers }[] = [];
let first = "";
let firstAt = 0;

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) &&
      !(target instanceof HTMLInputElement && /^(checkbox|radio|button)$/.test(target.type))));

function press(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const control = event.ctrlKey || event.metaKey;
  const key = control ? `mod+${event.key.toLowerCase()}` : event.key;
  if (event.altKey || (!control && (typing(event.target) || document.querySelector("dialog[open]")))) return;
  // Enter and the space bar belong to what has the focus.
  if (
    (key === "Enter" || key === " ") &&
    event.target instanceof HTMLElement &&
    event.target.closest("a,button,input,summary")
  )
    return;
  const pair = first && Date.now() - firstAt < 1_200 ? `${first} ${key}` : "";
  first = "";
  for (let index = layers.length - 1; index >= 0; index--) {
    const handlers = layers[index].current;
    const handler = (pair && handlers[pair]) || handlers[key];
    if (handler) {
      event.preventDefault();
      handler(event);
      return;
    }
  }
  if (!control && layers.some((one) => Object.keys(one.current).some((name) => name.startsWith(`${key} `)))) {
    first = key;
    firstAt = Date.now();
  }
}

addEventListener("keydown", press);

/** Keys of a part while it is on the page; what came last goes first. Names: "x", "g o", "mod+k". */
export function useKeys(handlers: Handlers): void {
  const layer = useRef(handlers);
  layer.current = handlers;
  useEffect(() => {
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  }, []);
}

export const SHORTCUTS: readonly [string, string][] = [
  ["g o", "Overview"],
  ["g j", "Jobs"],
  ["g f", "Failures"],
  ["g q", "Queues"],
  ["g w", "Workers"],
  ["g s", "Schedules"],
  ["g l", "Workflows"],
  ["g i", "Limits"],
  ["g t", "Task types"],
  ["g y", "System"],
  ["Ctrl K", "Go to anything, do anything"],
  ["/", "Filter the list"],
  ["j  k", "Next and previous row"],
  ["x", "Select the row"],
  ["Enter", "Open the row"],
  ["p", "Pause and go on with live updates"],
  ["r", "Retry the selected jobs"],
  ["?", "This help"],
];
