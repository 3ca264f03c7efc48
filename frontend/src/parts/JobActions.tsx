/** What may be done with one job, by its state and the person's role. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { confirm, perform } from "../actions";
import { act } from "../api";
import { parseJson, printJson } from "../json";
import { go, jobPath } from "../router";
import { may } from "../settings";
import type { JobDetail } from "../types";
import { Button } from "./basic";
import { Dialog } from "./Dialog";

export function JobActions({ job }: { job: JobDetail }): JSX.Element | null {
  const [editing, setEditing] = useState(false);
  if (!may("operator")) return null;
  const ids = [job.id];
  const can = (...states: JobDetail["state"][]): boolean => states.includes(job.state);
  const cancel = (): void =>
    confirm({
      title: "Cancel this job?",
      action: "Cancel the job",
      danger: true,
      text: job.state === "running" ? "It is told to stop and ends as soon as it listens." : "It will not run.",
      run: () =>
        void perform(
          () => act.jobs("cancel", { ids }),
          "Cancelled",
          job.state === "running" ? undefined : () => act.jobs("retry", { ids }),
        ),
    });
  const kill = (): void =>
    confirm({
      title: "Kill this run?",
      action: "Kill",
      danger: true,
      text: "It is asked to stop, and forced when it does not listen in time. In a thread, what it holds stays as it is.",
      run: () => void perform(() => act.kill(job.id), "It is asked to stop, then forced"),
    });
  const remove = (): void =>
    confirm({
      title: "Delete this job?",
      action: "Delete",
      danger: true,
      text: "It, its result and its log are gone for good.",
      run: () =>
        void perform(() => act.jobs("delete", { ids }), "Deleted").then((done) => {
          if (done) go("/jobs", {}, true);
        }),
    });
  const again = (): void =>
    void perform(() => act.again(job.id, {}), "Handed in again").then((made) => {
      if (made) go(jobPath(made.id));
    });
  return (
    <>
      {can("failed", "cancelled", "parked", "scheduled") && (
        <Button
          kind="main"
          icon={job.state === "scheduled" ? "play" : "retry"}
          onClick={() =>
            void perform(
              () => act.jobs("retry", { ids }),
              job.state === "scheduled" ? "It is ready now" : "It is ready again",
            )
          }
        >
          {job.state === "scheduled" ? "Run now" : "Retry"}
        </Button>
      )}
      {can("succeeded") && (
        <Button icon="retry" onClick={again}>
          Run again
        </Button>
      )}
      {!job.arguments.hidden && !job.arguments.cut && (
        <Button icon="edit" onClick={() => setEditing(true)}>
          Edit and run
        </Button>
      )}
      {can("scheduled", "waiting", "ready", "running", "parked") && (
        <Button icon="stop" disabled={job.cancelling} onClick={cancel}>
          {job.cancelling ? "Cancelling" : "Cancel"}
        </Button>
      )}
      {can("running") && (
        <Button icon="kill" kind="danger" onClick={kill}>
          Kill
        </Button>
      )}
      {!can("running") && may("admin") && <Button icon="trash" kind="quiet" label="Delete" onClick={remove} />}
      {editing && <EditAndRun job={job} close={() => setEditing(false)} />}
    </>
  );
}

function EditAndRun({ job, close }: { job: JobDetail; close: () => void }): JSX.Element {
  const [text, setText] = useState(printJson(job.arguments.value));
  const [queue, setQueue] = useState(job.queue);
  const [priority, setPriority] = useState(String(job.priority));
  const [delay, setDelay] = useState("");
  let wrong = "";
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    wrong = (error as Error).message;
  }
  const submit = (event: Event): void => {
    event.preventDefault();
    if (wrong) return;
    const change = { arguments: value, queue, priority: Number(priority), ...(delay ? { delay: Number(delay) } : {}) };
    void perform(() => act.again(job.id, change), "Handed in as a new job").then((made) => {
      if (made) {
        close();
        go(jobPath(made.id));
      }
    });
  };
  return (
    <Dialog title="Edit and run again" close={close} wide>
      <form onSubmit={submit}>
        <p class="faint">A new job is made; this one stays as it is.</p>
        <label class="field">
          <span>Arguments</span>
          <textarea
            class="mono"
            rows={Math.min(16, text.split("\n").length + 1)}
            value={text}
            spellcheck={false}
            aria-invalid={Boolean(wrong)}
            onInput={(event) => setText(event.currentTarget.value)}
            autofocus
          />
          <span class="wrong" aria-live="polite">
            {wrong}
          </span>
        </label>
        <div class="fields three">
          <label class="field">
            <span>Queue</span>
            <input value={queue} onInput={(event) => setQueue(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Priority, 0 to 9</span>
            <input
              type="number"
              min={0}
              max={9}
              value={priority}
              onInput={(event) => setPriority(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>Delay in seconds</span>
            <input
              type="number"
              min={0}
              placeholder="0"
              value={delay}
              onInput={(event) => setDelay(event.currentTarget.value)}
            />
          </label>
        </div>
        <div class="dialog-end">
          <Button onClick={close}>Not now</Button>
          <button type="submit" class="button main" disabled={Boolean(wrong)}>
            Run
          </button>
        </div>
      </form>
    </Dialog>
  );
}
