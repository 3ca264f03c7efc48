/** The inbox: failures that look alike are one entry; what is dealt with goes, and comes back by itself when it happens again. */
import type { JSX } from "preact";
import { confirm, perform, reason, say } from "../actions";
import { act, actInTurns, reads } from "../api";
import { compact, count, plural } from "../format";
import { now } from "../live";
import { useRead } from "../read";
import { param, setQuery } from "../router";
import { may } from "../settings";
import {
  Ago,
  Button,
  Card,
  Empty,
  Head,
  JobLink,
  JobsLink,
  Skeleton,
  Tabs,
  TaskName,
  Trouble,
  useTitle,
} from "../parts/basic";
import { Spark } from "../parts/figures";
import { Icon } from "../parts/icons";
import type { FaultRow } from "../types";

const TABS = [
  ["open", "Open"],
  ["snoozed", "Snoozed"],
  ["resolved", "Resolved"],
] as const;
const EMPTY: Record<string, [string, string]> = {
  open: ["Nothing fails", "When a job fails, its kind of failure shows here once, however often it happens."],
  snoozed: ["Nothing is snoozed", "Snooze what you know of and cannot mend yet; it comes back when its time is over."],
  resolved: [
    "Nothing was resolved yet",
    "Mark as resolved what you have mended; if it happens again, it is open again.",
  ],
};

async function retryAll(group: FaultRow): Promise<void> {
  const target = { q: `fault:${group.fingerprint} state:failed` };
  try {
    const { affected, more } = await act.jobs("retry", target, true);
    if (!affected) {
      say("No failed job of this group is left; they were retried or their time was over.");
      return;
    }
    const number = `${more ? "more than " : ""}${plural(affected, "job")}`;
    confirm({
      title: `Retry ${number}?`,
      action: `Retry ${number}`,
      text: "All that failed like this and are still kept run again from the start.",
      run: () =>
        void perform(
          () => actInTurns("retry", target),
          (done) => `${plural(done, "job")} made ready`,
        ),
    });
  } catch (error) {
    say(reason(error), { kind: "bad" });
  }
}

function Actions({ group }: { group: FaultRow }): JSX.Element | null {
  if (!may("operator")) return null;
  const reopen = (): Promise<unknown> => act.fault(group.fingerprint, "open");
  if (group.state !== "open")
    return <Button onClick={() => void perform(reopen, "It is open again")}>Open again</Button>;
  const tomorrow = (): string => new Date(now.value + 86_400_000).toISOString();
  return (
    <>
      <Button
        icon="check"
        onClick={() =>
          void perform(
            () => act.fault(group.fingerprint, "resolve"),
            "Resolved; it comes back if it happens again",
            reopen,
          )
        }
      >
        Resolve
      </Button>
      <Button
        icon="clock"
        onClick={() =>
          void perform(() => act.fault(group.fingerprint, "snooze", tomorrow()), "Snoozed for a day", reopen)
        }
      >
        Snooze
      </Button>
      <Button icon="retry" onClick={() => void retryAll(group)}>
        Retry all
      </Button>
    </>
  );
}

function Group({ group }: { group: FaultRow }): JSX.Element {
  const fresh = now.value - Date.parse(group.first_at) < 3_600_000;
  return (
    <li class="fault">
      <div class="fault-main">
        <h2>
          <span class="error-type">{group.type}</span>
          {fresh && <span class="tag new">new</span>}
          <span class="fault-task">
            in <TaskName name={group.task} />
          </span>
        </h2>
        <p class="fault-message">{group.message || <span class="faint">without a message</span>}</p>
        <p class="faint fault-facts">
          {group.where && <span class="mono">{group.where}</span>}
          <span>
            first <Ago at={group.first_at} />
          </span>
          <span>
            last <Ago at={group.last_at} />
          </span>
          {group.versions.length > 0 && (
            <span>
              code <span class="mono">{group.versions.slice(-3).join(", ")}</span>
            </span>
          )}
          <span>
            such as <JobLink id={group.sample} />
          </span>
          {group.until && (
            <span>
              back <Ago at={group.until} />
            </span>
          )}
        </p>
      </div>
      <div class="fault-count">
        <JobsLink q={`fault:${group.fingerprint}`} title="The jobs that failed like this and are still kept">
          <b>{compact(group.count)}×</b>
        </JobsLink>
        <span class="faint">{group.ended ? `${compact(group.ended)} for good` : "none for good"}</span>
      </div>
      <Spark values={group.spark} label={`${count(group.count)} failures, lately`} tone="bad" width={120} height={32} />
      <div class="fault-actions">
        <Actions group={group} />
      </div>
    </li>
  );
}

export function Failures(): JSX.Element {
  useTitle("Failures");
  const state = param("state", "open");
  const { value, problem, stale, again } = useRead(reads.failures(state, param("before")));
  const [title, text] = EMPTY[state] ?? EMPTY.open;
  return (
    <>
      <Head
        title="Failures"
        actions={
          <Tabs
            of={TABS}
            now={state}
            pick={(name) => setQuery({ state: name === "open" ? null : name, before: null })}
            label="Which"
          />
        }
      />
      {problem && <Trouble problem={problem} again={again} />}
      <Card flush>
        {!value ? (
          !problem && <Skeleton rows={8} />
        ) : value.groups.length ? (
          <ul class={stale ? "faults stale" : "faults"}>
            {value.groups.map((group) => (
              <Group key={group.fingerprint} group={group} />
            ))}
          </ul>
        ) : (
          <Empty title={title}>
            {state === "open" && <Icon name="check" />}
            {text}
          </Empty>
        )}
        {value && (value.next || param("before")) && (
          <div class="pager">
            <span />
            <Button icon="left" disabled={!param("before")} onClick={() => history.back()}>
              Newer
            </Button>
            <Button disabled={!value.next} onClick={() => setQuery({ before: value.next })}>
              Older
            </Button>
          </div>
        )}
      </Card>
    </>
  );
}
