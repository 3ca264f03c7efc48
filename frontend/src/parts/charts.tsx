/** The three charts of a series (what ended, how long it waited, how long it ran), and the two of a worker. */
import { useMemo } from "preact/hooks";
import type { JSX } from "preact";
import { duration, length, memory, MIB, rate } from "../format";
import { now } from "../live";
import { go } from "../router";
import { minutes, occurring, stacked, times, total, whole } from "../series";
import type { Series, WorkerRow } from "../types";
import { Chart, type Mark } from "./Chart";

/** Between the lines of an axis of lengths of time: round ones, in seconds, minutes or hours. */
const LENGTHS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200,
  14400, 28800, 86400, 172800, 604800,
];
const label = (p: string): string => p.replace("p50", "median");

export function Throughput({
  series: given,
  marks,
  filter = "",
  height,
}: {
  series: Series;
  marks?: Mark[];
  filter?: string;
  height?: number;
}): JSX.Element {
  const series = useMemo(() => whole(given, now.peek()), [given]);
  const outcomes = useMemo(() => {
    const found = occurring(series);
    return found.length ? found : (["succeeded"] as const);
  }, [series]);
  // One time more than values, where the last step ends: a step is as wide as it lasts.
  const columns = useMemo(
    () => stacked(series, outcomes).map((column) => [...column, column.at(-1) ?? null]),
    [series],
  );
  const at = useMemo(() => {
    const all = times(series);
    return [...all, (all.at(-1) ?? 0) + series.step];
  }, [series]);
  const span = (from: number, until: number): void => {
    const time = (seconds: number): string => `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
    go("/jobs", { q: `since:${time(from)} until:${time(until)} ${filter}`.trim() });
  };
  const lines = outcomes.map((outcome) => ({
    label: outcome,
    tone: `outcome-${outcome}`,
    fill: true,
    calm: outcome === "succeeded",
    value: (index: number) => rate((series.outcomes[outcome]?.[Math.min(index, at.length - 2)] ?? 0) / series.step),
  }));
  return (
    <Chart
      title="Ended, by outcome"
      times={at}
      columns={columns}
      lines={lines}
      axis={rate}
      marks={marks}
      step={series.step}
      onSpan={span}
      height={height}
    />
  );
}

export function Times({
  series: given,
  what,
  title,
  height,
}: {
  series: Series;
  what: "wait" | "run";
  title: string;
  height?: number;
}): JSX.Element {
  const parts = ["p50", "p95", "p99"] as const;
  const series = useMemo(() => whole(given, now.peek()), [given]);
  const at = useMemo(() => times(series), [series]);
  const columns = useMemo(() => parts.map((part) => series[what][part]), [series]);
  const lines = parts.map((part, index) => ({
    label: label(part),
    tone: part,
    dash: [undefined, [6, 3], [2, 3]][index],
    value: (place: number) => duration(series[what][part][place]),
  }));
  return (
    <Chart
      title={title}
      times={at}
      columns={columns}
      lines={lines}
      axis={length}
      steps={LENGTHS}
      step={series.step}
      height={height}
    />
  );
}

const COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/** A worker's busy slots in its last hour, under the line of all that it has. */
export function BusySlots({ row }: { row: WorkerRow }): JSX.Element {
  const busy = useMemo(() => [...row.past.busy, total(row.busy)], [row]);
  const at = useMemo(() => minutes(row.past.busy.length, now.peek()), [row]);
  const slots = total(row.slots);
  // What is drawn ends with the latest minute; what is told of its end is now.
  const columns = useMemo(() => [[...row.past.busy, row.past.busy.at(-1) ?? null], busy.map(() => slots)], [row]);
  const lines = [
    { label: "busy", tone: "running", fill: true, calm: true, value: (index: number) => `${busy[index]}` },
    { label: "slots", tone: "faint", dash: [6, 3], value: () => `${slots}` },
  ];
  return (
    <Chart
      title="Busy slots, last hour"
      times={at}
      columns={columns}
      lines={lines}
      axis={String}
      steps={COUNTS}
      step={60}
      height={140}
    />
  );
}

/** What a worker held in its last hour. */
export function Resident({ row }: { row: WorkerRow }): JSX.Element {
  const held = useMemo(() => [...row.past.mib, Math.round((row.rss ?? 0) / MIB)], [row]);
  const at = useMemo(() => minutes(row.past.mib.length, now.peek()), [row]);
  const columns = useMemo(() => [held], [held]);
  const lines = [{ label: "resident", tone: "p50", value: (index: number) => memory(held[index] * MIB) }];
  return (
    <Chart
      title="Memory, last hour"
      times={at}
      columns={columns}
      lines={lines}
      axis={(mib) => memory(mib * MIB)}
      steps={COUNTS}
      step={60}
      height={140}
    />
  );
}
