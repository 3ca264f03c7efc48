/** What to do with the selected jobs, or with all that match. The question names the number before anything is done. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { confirm, reason, say } from "../actions";
import { act, actInTurns, type BulkAction, type Target } from "../api";
import { count, plural } from "../format";
import { useKeys } from "../keys";
import { refresh } from "../live";
import { may } from "../settings";
import type { JobRow } from "../types";
import { Button } from "./basic";

interface Props {
  q: string;
  page: readonly JobRow[];
  picked: ReadonlySet<string>;
  every: boolean;
  setEvery: (on: boolean) => void;
  clear: () => void;
}

const DONE: Record<BulkAction, string> = { retry: "made ready", cancel: "cancelled", delete: "deleted" };
const WORDS: Record<BulkAction, string> = {
  retry: "They run again from the start. Those that run or succeeded are left alone.",
  cancel: "Those that wait are cancelled at once; those that run are told to stop. Finished ones are left alone.",
  delete: "They and their logs are gone for good. Those that run are left alone.",
};

export function BulkBar({ q, page, picked, every, setEvery, clear }: Props): JSX.Element {
  const [busy, setBusy] = useState("");
  const newest = page[0]?.id ?? "";
  const run = async (action: BulkAction, target: Target): Promise<void> => {
    try {
      const done = await actInTurns(action, target, (so) => setBusy(`${count(so)} ${DONE[action]}…`));
      const undo =
        action === "cancel" && "ids" in target ? () => void act.jobs("retry", target).then(refresh) : undefined;
      say(`${plural(done, "job")} ${DONE[action]}`, { undo });
      clear();
    } catch (error) {
      say(reason(error), { kind: "bad" });
    }
    setBusy("");
    refresh();
  };
  const ask = async (action: BulkAction): Promise<void> => {
    const target: Target = every ? { q, until_id: newest } : { ids: [...picked] };
    let number = plural(picked.size, "job");
    if (every) {
      setBusy("counting…");
      try {
        const { affected, more } = await act.jobs(action, target, true);
        number = `${more ? "more than " : ""}${plural(affected, "job")}`;
      } catch (error) {
        say(reason(error), { kind: "bad" });
        return;
      } finally {
        setBusy("");
      }
    }
    const verb = action[0].toUpperCase() + action.slice(1);
    confirm({
      title: `${verb} ${number}?`,
      text: WORDS[action],
      action: `${verb} ${number}`,
      danger: action !== "retry",
      typed: every && action === "delete" ? "delete" : undefined,
      run: () => void run(action, target),
    });
  };
  useKeys({ r: () => void ask("retry") });
  return (
    <div class="bulk" role="region" aria-label="Selected jobs">
      <b>{busy || (every ? "All that match" : `${plural(picked.size, "job")} selected`)}</b>
      {!every && page.length > 0 && page.every((row) => picked.has(row.id)) && (
        <Button kind="quiet" onClick={() => setEvery(true)}>
          Select all that match the filter
        </Button>
      )}
      <span class="bulk-actions">
        <Button icon="retry" disabled={Boolean(busy)} onClick={() => void ask("retry")}>
          Retry
        </Button>
        <Button icon="stop" disabled={Boolean(busy)} onClick={() => void ask("cancel")}>
          Cancel
        </Button>
        {may("admin") && (
          <Button icon="trash" kind="danger" disabled={Boolean(busy)} onClick={() => void ask("delete")}>
            Delete
          </Button>
        )}
        <Button kind="quiet" icon="close" label="Clear the selection" onClick={clear} />
      </span>
    </div>
  );
}
