/** Every job: filter, then act on some or on all that match. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { reads } from "../api";
import { toggled, valuesOf, withValues } from "../filter";
import { compact, plural } from "../format";
import { back, forward, inPlace, START, type Trail } from "../paging";
import { useRead } from "../read";
import { param, setQuery } from "../router";
import { may } from "../settings";
import { Button, Card, Clock, Empty, Head, Skeleton, Trouble, useTitle } from "../parts/basic";
import { BulkBar } from "../parts/BulkBar";
import { FilterBox } from "../parts/FilterBox";
import { StateIcon } from "../parts/icons";
import { JobTable } from "../parts/JobTable";
import { STATES, type JobsPage } from "../types";

// The way back through the pages outlives the page itself, but not the tab.
let trail: Trail = START;

function StateTabs({
  q,
  counts,
  apply,
}: {
  q: string;
  counts: JobsPage["counts"];
  apply: (q: string) => void;
}): JSX.Element {
  const on = valuesOf(q, "state");
  return (
    <div class="states" role="group" aria-label="States">
      <button type="button" aria-pressed={!on.length} onClick={() => apply(withValues(q, "state", []))}>
        all
      </button>
      {STATES.map((state) => (
        <button
          key={state}
          type="button"
          aria-pressed={on.includes(state)}
          onClick={(event) =>
            apply(
              event.shiftKey || event.ctrlKey || event.metaKey
                ? toggled(q, "state", state)
                : withValues(q, "state", on.length === 1 && on[0] === state ? [] : [state]),
            )
          }
        >
          <StateIcon state={state} />
          {state} <b class="number">{compact(counts[state] ?? 0)}</b>
        </button>
      ))}
    </div>
  );
}

/** Values for the completion: what is on the page, and, once somebody begins to type, the names of all queues. */
function useValues(page: JobsPage | null, asked: boolean): Record<string, readonly string[]> {
  const queues = useRead(asked ? reads.queues("1h") : null, { live: false }).value;
  return useMemo(() => {
    const jobs = page?.jobs ?? [];
    const some = (values: (string | null | undefined)[]): string[] =>
      [...new Set(values.filter((one): one is string => Boolean(one)))].sort();
    return {
      state: STATES,
      queue: some([...(queues?.queues.map((one) => one.name) ?? []), ...jobs.map((one) => one.queue)]),
      task: some(jobs.flatMap((one) => [one.task, `${one.task.split(".")[0]}.*`])),
      error: some(jobs.map((one) => one.error?.type)),
      worker: some(jobs.map((one) => one.worker)),
      key: some(jobs.map((one) => one.key)),
      since: ["15m", "1h", "24h", "7d"],
      until: ["15m", "1h", "24h"],
    };
  }, [page, queues]);
}

const ENQUEUE = `await resize.enqueue(42)      # in async code
resize.delay(42)              # anywhere else`;

export function Jobs(): JSX.Element {
  useTitle("Jobs");
  const q = param("q");
  const before = param("before");
  const { value, problem, stale, again } = useRead(reads.jobs(q, before));
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [every, setEvery] = useState(false);
  const [asked, setAsked] = useState(false);
  const values = useValues(value, asked);
  const shown = useRef<JobsPage["jobs"]>([]);
  const holding = picked.size > 0;
  // While something is selected, no row moves under the hand.
  const held = value && holding && !stale ? inPlace(shown.current, value.jobs) : { rows: value?.jobs ?? [], more: 0 };
  shown.current = held.rows;
  const clear = (): void => {
    setPicked(new Set());
    setEvery(false);
  };
  useEffect(clear, [q, before]);
  const apply = (text: string): void => setQuery({ q: text, before: null });
  const pick = (ids: string[], on: boolean): void => {
    const next = new Set(picked);
    ids.forEach((id) => (on ? next.add(id) : next.delete(id)));
    setPicked(next);
    setEvery(false);
  };
  const older = (): void => {
    if (value?.next) {
      trail = forward(trail, q, before);
      setQuery({ before: value.next });
    }
  };
  const newer = (): void => {
    const way = back(trail, q, before);
    if (way) {
      trail = way.trail;
      setQuery({ before: way.to || null });
    }
  };
  return (
    <>
      <Head title="Jobs" />
      <FilterBox q={q} values={values} apply={apply} begin={() => setAsked(true)} />
      {value && <StateTabs q={q} counts={value.counts} apply={apply} />}
      {problem && <Trouble problem={problem} again={again} />}
      <Card flush>
        {!value ? (
          !problem && <Skeleton rows={12} />
        ) : (
          <div class={stale ? "stale" : ""}>
            {!held.rows.length ? (
              <Nothing q={q} page={value} clear={() => apply("")} />
            ) : (
              <JobTable rows={held.rows} picked={picked} pick={may("operator") ? pick : undefined} />
            )}
            {(held.rows.length > 0 || value.next || before) && (
              <div class="pager">
                <span class="faint">
                  {held.more > 0 ? (
                    `${plural(held.more, "new job")} above; they show when nothing is selected`
                  ) : value.searched_to && !value.next ? (
                    ""
                  ) : value.searched_to ? (
                    <>
                      searched back to <Clock at={value.searched_to} />
                    </>
                  ) : (
                    plural(held.rows.length, "job")
                  )}
                </span>
                <Button icon="left" disabled={!before} onClick={newer}>
                  Newer
                </Button>
                <Button disabled={!value.next} onClick={older}>
                  {value.searched_to && held.rows.length < 50 ? "Search on" : "Older"}
                </Button>
              </div>
            )}
          </div>
        )}
      </Card>
      {holding && value && (
        <BulkBar q={q} page={held.rows} picked={picked} every={every} setEvery={setEvery} clear={clear} />
      )}
    </>
  );
}

function Nothing({ q, page, clear }: { q: string; page: JobsPage; clear: () => void }): JSX.Element {
  if (page.next)
    return (
      <Empty title="Nothing so far">
        The search went back to <Clock at={page.searched_to} /> and found no match. It can go on from there.
      </Empty>
    );
  if (!q)
    return (
      <Empty title="No job yet" code={ENQUEUE}>
        Hand in a job, and it is here.
      </Empty>
    );
  return (
    <Empty title="No job matches">
      Finished jobs are kept for a while and then go: a day when they succeeded, a week when they failed, unless the
      task says otherwise.
      <br />
      <Button onClick={clear}>Clear the filter</Button>
    </Empty>
  );
}
