/** What became of an action, said aloud by screen readers, too. */
import type { JSX } from "preact";
import { dismiss, toasts } from "../actions";
import { Button } from "./basic";
import { Icon } from "./icons";

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast ${toast.kind}`}>
          <Icon name={toast.kind === "good" ? "check" : "failures"} />
          <span>{toast.text}</span>
          {toast.undo && (
            <Button
              onClick={() => {
                dismiss(toast.id);
                toast.undo?.();
              }}
            >
              Undo
            </Button>
          )}
          <Button kind="quiet" icon="close" label="Dismiss" onClick={() => dismiss(toast.id)} />
        </div>
      ))}
    </div>
  );
}
