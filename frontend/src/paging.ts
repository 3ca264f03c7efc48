/** Keyset pages: a page is named by the job before which it begins. The way back is remembered, since a keyset knows only forward. */

export interface Trail {
  q: string;
  behind: string[];
} // `behind`: the cursors of the pages walked, "" the first

export const START: Trail = { q: "", behind: [] };

/** Go to the page before `next`, from the one before `current`. A trail of another search is dropped. */
export const forward = (trail: Trail, q: string, current: string): Trail => ({
  q,
  behind: [...(trail.q === q ? trail.behind : []), current],
});

/** Where the page before is ("" is the first one), and the trail from there; null when there is nothing before. */
export function back(trail: Trail, q: string, current: string): { to: string; trail: Trail } | null {
  if (!current) return null;
  if (trail.q !== q || !trail.behind.length) return { to: "", trail: { q, behind: [] } };
  return { to: trail.behind[trail.behind.length - 1], trail: { q, behind: trail.behind.slice(0, -1) } };
}

/** Rows on screen brought up to date without moving: each keeps its place, new ones are only counted. */
export function inPlace<Row extends { id: string }>(
  shown: readonly Row[],
  fresh: readonly Row[],
): { rows: Row[]; more: number } {
  const byId = new Map(fresh.map((row) => [row.id, row]));
  const rows = shown.map((row) => byId.get(row.id) ?? row);
  const known = new Set(shown.map((row) => row.id));
  return { rows, more: fresh.filter((row) => !known.has(row.id)).length };
}
