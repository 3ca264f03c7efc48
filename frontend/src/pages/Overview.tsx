/** Is all well? */
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { reads } from "../api";
import { compact, count, duration, plural, rate, share } from "../format";
import { useRead } from "../read";
import { Link } from "../router";
import { Button, Card, Empty, Head, Skeleton, Trouble, useTitle } from "../parts/basic";
import { Throughput, Times } from "../parts/charts";
import { Meter } from "../parts/figures";
import { Icon } from "../parts/icons";
import { QueueTable } from "../parts/QueueTable";
import { range } from "../parts/Shell";
import type { Attention, Overview as Value } from "../types";

const FIRST_TASK = `from windlass import Windlass

app = Windlass()


@app.task
def hello(name: str) -> str:
    return f"Hello, {name}"


hello.delay("world")

# and in a terminal: windlass worker main:app`;

function Tile({
  name,
  value,
  note,
  to,
  tone,
}: {
  name: string;
  value: string;
  note: string;
  to: string;
  tone?: string;
}): JSX.Element {
  return (
    <Link class={`tile ${tone ?? ""}`} to={to}>
      <span class="tile-name">{name}</span>
      <b class="tile-value number">{value}</b>
      <span class="tile-note">{note}</span>
    </Link>
  );
}

function Tiles({ of: value }: { of: Value }): JSX.Element {
  const { totals, slots } = value;
  const waiting = (totals.ready ?? 0) + (totals.waiting ?? 0);
  const bad = value.failed_share >= 0.05 ? "bad" : value.failed_share >= 0.01 ? "warn" : "";
  return (
    <div class="tiles">
      <Tile
        name="Done"
        value={rate(value.done_rate)}
        note={`${compact(totals.succeeded ?? 0)} succeeded, kept`}
        to="/jobs?q=state:succeeded"
      />
      <Tile
        name="Failed"
        value={share(value.failed_share)}
        note={`${compact(totals.failed ?? 0)} failed, kept`}
        to="/failures"
        tone={bad}
      />
      <Tile
        name="Ready"
        value={compact(waiting)}
        note={`${compact(totals.scheduled ?? 0)} scheduled`}
        to="/jobs?q=state:ready"
      />
      <Tile
        name="Oldest waits"
        value={duration(value.oldest)}
        note="for a worker"
        to="/queues?sort=oldest"
        tone={(value.oldest ?? 0) > 300 ? "warn" : ""}
      />
      <Link class="tile" to="/workers">
        <span class="tile-name">Slots busy</span>
        <b class="tile-value number">
          {slots.busy}
          <small> of {slots.total}</small>
        </b>
        <span class="tile-note">
          <Meter part={slots.busy} whole={slots.total} label={`${slots.busy} of ${slots.total} slots busy`} />
          {plural(value.workers, "worker")}
        </span>
      </Link>
    </div>
  );
}

const AT_FIRST = 5; // beside the chart, whose height they fill

export function AttentionList({ of: list }: { of: Attention[] }): JSX.Element {
  const [whole, setWhole] = useState(list.length === AT_FIRST + 1);
  if (!list.length)
    return (
      <p class="all-well">
        <Icon name="check" />
        Nothing needs you.
      </p>
    );
  return (
    <ul class="attention">
      {(whole ? list : list.slice(0, AT_FIRST)).map((one) => (
        <li key={one.kind + one.title}>
          <Link to={one.to} class={one.level}>
            <Icon name={one.level === "bad" ? "failures" : "clock"} label={one.level === "bad" ? "bad" : "warning"} />
            <span>
              <b>{one.title}</b>
              <span class="faint">{one.detail}</span>
            </span>
            <Icon name="right" />
          </Link>
        </li>
      ))}
      {!whole && list.length > AT_FIRST && (
        <li class="more">
          <Button kind="quiet" icon="down" onClick={() => setWhole(true)}>
            {count(list.length - AT_FIRST)} more
          </Button>
        </li>
      )}
    </ul>
  );
}

export function Overview(): JSX.Element {
  useTitle("Overview");
  const { value, problem, again } = useRead(reads.overview(range()));
  const marks = useMemo(
    () => value?.deploys.map((one) => ({ at: Date.parse(one.at) / 1000, label: one.version })) ?? [],
    [value?.deploys],
  );
  if (!value)
    return (
      <>
        <Head title="Overview" />
        {problem ? (
          <Trouble problem={problem} again={again} />
        ) : (
          <>
            <Skeleton block />
            <Skeleton />
          </>
        )}
      </>
    );
  const nothing = Object.values(value.totals).every((n) => !n) && !Object.keys(value.series.outcomes).length;
  return (
    <>
      <Head title="Overview" />
      {problem && <Trouble problem={problem} again={again} />}
      {nothing ? (
        <Card>
          <Empty title="No job yet" code={FIRST_TASK}>
            Write a task, hand it in, start a worker. This page comes alive by itself.
          </Empty>
        </Card>
      ) : (
        <>
          <Tiles of={value} />
          <div class="split">
            <Card>
              <Throughput series={value.series} marks={marks} height={250} />
              <p class="hint">Drag over a span to see its jobs.</p>
            </Card>
            <Card
              title="Needs attention"
              aside={value.attention.length ? count(value.attention.length) : undefined}
              flush
            >
              <AttentionList of={value.attention} />
            </Card>
          </div>
          <div class="halves">
            <Card>
              <Times series={value.series} what="wait" title="Waited for a worker" />
            </Card>
            <Card>
              <Times series={value.series} what="run" title="Ran" />
            </Card>
          </div>
          <Card title="Queues" flush>
            <QueueTable rows={value.queues} />
          </Card>
        </>
      )}
    </>
  );
}
