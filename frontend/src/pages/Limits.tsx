/** Limits: what is taken, who stands before them, and when the next one passes. */
import type { JSX } from "preact";
import { reads } from "../api";
import { count, plural } from "../format";
import { useRead } from "../read";
import { jobPath, param, setQuery } from "../router";
import {
  Ago,
  Button,
  Card,
  Clock,
  Elapsed,
  Empty,
  Head,
  JobLink,
  Skeleton,
  TaskName,
  Trouble,
  useTitle,
} from "../parts/basic";
import { Meter } from "../parts/figures";
import type { LimitRow, Stander } from "../types";

const CODE = `from windlass import Limit

openai = Limit("openai", rate="60/m", running=5,
               key=lambda customer: customer)

@app.task(limits=[openai])
async def answer(prompt: str, customer: str) -> str: ...`;

export function Limits(): JSX.Element {
  useTitle("Limits");
  const after = param("after");
  const { value, problem, again } = useRead(reads.limits(after));
  return (
    <>
      <Head title="Limits" />
      {problem && <Trouble problem={problem} again={again} />}
      <Card flush>
        {!value ? (
          !problem && <Skeleton />
        ) : value.limits.length ? (
          value.limits.map((row) => <Limit key={`${row.limit}\x1f${row.key}`} row={row} />)
        ) : (
          <Empty title={after ? "No more limits" : "Nothing is limited now"} code={CODE}>
            A limit says how much of something jobs may take together, over all workers; what it holds back takes no
            slot. A key that nobody needs is forgotten, so only those show here at which somebody runs or waits.
          </Empty>
        )}
        {value && (value.next || after) && (
          <div class="pager">
            <span class="faint">{plural(value.limits.length, "key")}</span>
            <Button icon="left" disabled={!after} onClick={() => setQuery({ after: null })}>
              First
            </Button>
            <Button disabled={!value.next} onClick={() => setQuery({ after: value.next })}>
              Next
            </Button>
          </div>
        )}
      </Card>
    </>
  );
}

const units = (n: number): string => (n < 10 ? String(Math.round(n * 10) / 10) : count(n));

function Limit({ row }: { row: LimitRow }): JSX.Element {
  return (
    <article class="limit">
      <div class="limit-main">
        <h2>
          {row.limit}
          {row.key && <span class="mono limit-key">{row.key}</span>}
          {row.ordered && <span class="tag">one after the other</span>}
          {row.closed_until && <span class="tag worker-quiet">paused</span>}
        </h2>
        <Account row={row} />
      </div>
      <div class="limit-line">
        <Next row={row} />
        <Jobs title="Inside" jobs={row.inside} />
        <Jobs title="In line" jobs={row.line} more={row.waiting - row.line.length} />
      </div>
    </article>
  );
}

/** Units in the time in which at least one comes. */
function pace(perSecond: number): string {
  if (perSecond >= 1) return `${units(perSecond)} a second`;
  return perSecond * 60 >= 1 ? `${units(perSecond * 60)} a minute` : `${units(perSecond * 3600)} an hour`;
}

/** What the limit says, and what of it is taken. */
function Account({ row }: { row: LimitRow }): JSX.Element {
  return (
    <ul class="limit-account">
      {row.running !== null && (
        <li>
          <Meter part={row.held} whole={row.running} label={`${units(row.held)} of ${units(row.running)} at once`} />
          <b class="number">{units(row.held)}</b> of {units(row.running)} at once
        </li>
      )}
      {row.level !== null && row.rate !== null && (
        <li>
          <Meter
            part={row.burst - row.level + row.reserved}
            whole={row.burst}
            label={`${units(Math.max(0, row.level - row.reserved))} of ${units(row.burst)} left`}
          />
          <b class="number">{units(Math.max(0, row.level - row.reserved))}</b> of {units(row.burst)} left,{" "}
          {pace(row.rate)} come back
        </li>
      )}
      {row.turn && (
        <li>
          the turn of <JobLink id={row.turn} />
        </li>
      )}
    </ul>
  );
}

function Next({ row }: { row: LimitRow }): JSX.Element {
  const many = row.waiting ? (
    <>
      <b class="number">{plural(row.waiting, "job")}</b> {row.waiting === 1 ? "waits" : "wait"}
    </>
  ) : (
    <span class="faint">Nobody waits</span>
  );
  if (row.closed_until)
    return (
      <p>
        {many}; <span class="warn-text">a run asked for a pause</span> until <Clock at={row.closed_until} />,{" "}
        <Ago at={row.closed_until} />
      </p>
    );
  if (!row.waiting) return <p>{many}</p>;
  return (
    <p>
      {many};{" "}
      {row.opens ? (
        <>
          the next one passes <Ago at={row.opens} />
        </>
      ) : (
        "the next one passes once a job ends"
      )}
    </p>
  );
}

function Jobs({
  title,
  jobs,
  more = 0,
}: {
  title: string;
  jobs: readonly Stander[];
  more?: number;
}): JSX.Element | null {
  if (!jobs.length) return null;
  return (
    <div class="standers">
      <span class="faint">{title}</span>
      <ul>
        {jobs.map((job) => (
          <li key={job.id}>
            <TaskName name={job.task} to={jobPath(job.id)} />{" "}
            <span class="faint">
              {job.units !== 1 && `${units(job.units)} units, `}for <Elapsed from={job.since} />
            </span>
          </li>
        ))}
        {more > 0 && <li class="faint">and {count(more)} more</li>}
      </ul>
    </div>
  );
}
