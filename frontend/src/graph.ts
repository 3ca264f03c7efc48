/** A workflow as a graph: jobs of one task that tell the same job of their end are one node. Pure; the page draws it. */
import { finished, STATES, type Part, type State, type Workflow } from "./types";

export interface Node {
  id: string;
  task: string;
  parts: Part[];
  to: string[];
  counts: Partial<Record<State, number>>;
  total: number;
  /** Whether the numbers are those of all its jobs. */
  exact: boolean;
  /** How far it is from the end: nobody waits for those at 0. */
  depth: number;
}

/** Which state is told of many jobs: the one that somebody should look at first. */
const TELLING: readonly State[] = [
  "failed",
  "parked",
  "running",
  "ready",
  "scheduled",
  "waiting",
  "cancelled",
  "succeeded",
];
export const stateOf = (node: Node): State => TELLING.find((state) => node.counts[state]) ?? "succeeded";

/** The nodes of a workflow, those nearest to its end first. */
export function fold(workflow: Workflow): Node[] {
  const parts = new Map(workflow.parts.map((part) => [part.id, part]));
  const nodes = new Map<string, Node>();
  const nodeOf = new Map<string, Node>();
  const place = (part: Part, above: ReadonlySet<string>): Node => {
    const known = nodeOf.get(part.id);
    if (known) return known;
    const receivers = part.to
      .filter((id) => id !== part.id && parts.has(id) && !above.has(id))
      .map((id) => place(parts.get(id) as Part, new Set([...above, part.id])));
    const to = [...new Set(receivers.map((one) => one.id))].sort();
    const id = part.id === workflow.id ? part.id : [part.task, ...to].join(" ");
    const depth = Math.max(-1, ...receivers.map((one) => one.depth)) + 1;
    const node = nodes.get(id) ?? { id, task: part.task, parts: [], to, counts: {}, total: 0, exact: true, depth };
    node.parts.push(part);
    nodes.set(id, node);
    nodeOf.set(part.id, node);
    return node;
  };
  for (const part of workflow.parts) place(part, new Set());
  const found = [...nodes.values()].sort((a, b) => a.depth - b.depth);
  for (const node of found) number(node, found, workflow);
  return found;
}

/** How many jobs are in a node, by state. Of those that were not read, the job that they tell of their end knows how many there are. */
function number(node: Node, all: readonly Node[], workflow: Workflow): void {
  for (const part of node.parts) node.counts[part.state] = (node.counts[part.state] ?? 0) + 1;
  node.total = node.parts.length;
  const [receiver, ...others] = all.filter((one) => node.to.includes(one.id));
  const alone = receiver && !others.length && all.filter((one) => one.to.includes(receiver.id)).length === 1;
  const flow = workflow.steps.length > 0 && receiver?.id === workflow.id;
  if (!alone || flow) {
    node.exact = !workflow.cut || !receiver;
    return;
  }
  const each = receiver.parts[0].awaited;
  node.total = Math.max(node.total, receiver.total * each);
  const missing = node.total - node.parts.length;
  if (!missing) return;
  const [one] = receiver.parts;
  node.exact = workflow.exact && receiver.total === 1;
  if (receiver.total > 1) return;
  const { counts } = node;
  const told = one.letters - (one.collects ? (counts.failed ?? 0) + (counts.cancelled ?? 0) : 0);
  const before = counts.succeeded ?? 0;
  counts.succeeded = Math.max(before, Math.min(told, before + missing));
  const waits = (counts.waiting ?? 0) > (counts.ready ?? 0) ? "waiting" : "ready";
  const rest = missing - (counts.succeeded - before);
  if (rest) counts[waits] = (counts[waits] ?? 0) + rest;
}

export const done = (node: Node): number =>
  STATES.filter(finished).reduce((sum, state) => sum + (node.counts[state] ?? 0), 0);

export interface Box {
  node: Node;
  x: number;
  y: number;
}
export interface Drawing {
  boxes: Box[];
  edges: { from: Box; to: Box; path: string }[];
  width: number;
  height: number;
  left: number;
}

export const SIZE = { width: 224, height: 62, across: 48, down: 16 } as const;
/** Nodes that are drawn: a chain of thousands is no picture. */
export const DRAWN = 60;

/** Where the nodes stand: a column for each depth, the end at the right, each node as near as can be to the one that it tells. */
export function draw(nodes: readonly Node[]): Drawing {
  const shown = nodes.slice(0, DRAWN);
  const columns = new Map<number, Node[]>();
  for (const node of shown) columns.set(node.depth, [...(columns.get(node.depth) ?? []), node]);
  const depths = [...columns.keys()].sort((a, b) => a - b);
  const deepest = depths[depths.length - 1] ?? 0;
  const tallest = Math.max(0, ...[...columns.values()].map((one) => one.length));
  const height = tallest * (SIZE.height + SIZE.down) - SIZE.down;
  const boxes = new Map<string, Box>();
  for (const depth of depths) {
    const near = (node: Node): number => {
      const places = node.to.flatMap((id) => boxes.get(id)?.y ?? []);
      return places.reduce((sum, y) => sum + y, 0) / Math.max(1, places.length);
    };
    const column = [...(columns.get(depth) ?? [])].sort((a, b) => near(a) - near(b) || a.task.localeCompare(b.task));
    const top = (height - column.length * (SIZE.height + SIZE.down) + SIZE.down) / 2;
    column.forEach((node, index) =>
      boxes.set(node.id, {
        node,
        x: (deepest - depth) * (SIZE.width + SIZE.across),
        y: top + index * (SIZE.height + SIZE.down),
      }),
    );
  }
  const edges = [...boxes.values()].flatMap((from) =>
    from.node.to.flatMap((id) => {
      const to = boxes.get(id);
      return to ? [{ from, to, path: curve(from, to) }] : [];
    }),
  );
  const width = (deepest + 1) * (SIZE.width + SIZE.across) - SIZE.across;
  return { boxes: [...boxes.values()], edges, width, height, left: nodes.length - shown.length };
}

function curve(from: Box, to: Box): string {
  const [x, y] = [from.x + SIZE.width, from.y + SIZE.height / 2];
  const [end, level] = [to.x, to.y + SIZE.height / 2];
  const half = (x + end) / 2;
  return `M${x} ${y}C${half} ${y} ${half} ${level} ${end - 5} ${level}`;
}
