import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { SHORTCUTS } from "../keys";
import { Dialog } from "./Dialog";

export const helpOpen = signal(false);

export function Help(): JSX.Element | null {
  if (!helpOpen.value) return null;
  return (
    <Dialog
      title="Keyboard"
      close={() => {
        helpOpen.value = false;
      }}
      wide
    >
      <dl class="shortcuts">
        {SHORTCUTS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(/\s+/).map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
