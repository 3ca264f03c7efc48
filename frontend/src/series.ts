/** Charts from series: pure, so that they are tested without a canvas. */
import { OUTCOMES, type Outcome, type Series } from "./types";

export type Column = (number | null)[];

/** The times of a series in Unix seconds: the beginning of each step. */
export function times(series: Series): number[] {
  const start = Date.parse(series.start) / 1000;
  return Array.from({ length: lengthOf(series) }, (_, index) => start + index * series.step);
}

const lengthOf = (series: Series): number =>
  Math.max(series.wait.p50.length, series.run.p50.length, ...Object.values(series.outcomes).map((one) => one.length), 0);

/** The outcomes that occur, in their fixed order, so that a colour never changes its place. */
export const occurring = (series: Series): Outcome[] => OUTCOMES.filter((one) => series.outcomes[one]?.some((n) => n > 0));

/** Jobs per second by outcome, each on top of those before it. */
export function stacked(series: Series, outcomes: readonly Outcome[]): Column[] {
  const below = new Array<number>(lengthOf(series)).fill(0);
  return outcomes.map((outcome) => below.map((sum, index) => (below[index] = sum + (series.outcomes[outcome]?.[index] ?? 0) / series.step)));
}

/** Neighbouring numbers added up until there are at most `most`: what a sparkline has room for. */
export function folded(values: readonly number[], most: number): number[] {
  const size = Math.ceil(values.length / most);
  if (size <= 1) return [...values];
  // From the end on, so that the latest bar is a full one and does not jump with each step.
  const found: number[] = [];
  for (let end = values.length; end > 0; end -= size) {
    found.unshift(values.slice(Math.max(0, end - size), end).reduce((sum, one) => sum + one, 0));
  }
  return found;
}

export const total = (series: Series, outcome: Outcome): number => (series.outcomes[outcome] ?? []).reduce((sum, one) => sum + one, 0);

/** The top of a scale: the next of 1, 2, 2.5, 5 times a power of ten. */
export function niceTop(most: number): number {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return ([1, 2, 2.5, 5, 10].find((one) => one * power >= most * 0.999) ?? 10) * power;
}
