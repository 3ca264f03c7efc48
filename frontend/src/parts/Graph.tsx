/** A workflow, drawn: what runs first at the left, the end at the right. */
import type { JSX } from "preact";
import { token } from "../filter";
import { compact, count, duration, plural } from "../format";
import { done, draw, SIZE, stateOf, type Box, type Node } from "../graph";
import { now } from "../live";
import { jobPath, Link } from "../router";
import { STATES, type Part } from "../types";
import { TaskName } from "./basic";
import { StateBar } from "./figures";
import { StateIcon } from "./icons";

export function Graph({ nodes, root }: { nodes: readonly Node[]; root: string }): JSX.Element {
  const { boxes, edges, width, height, left } = draw(nodes);
  return (
    <>
      <div class="scroller graph" tabIndex={0} role="group" aria-label="Graph">
        <div class="graph-all" style={{ width: `${width}px`, height: `${height}px` }}>
          <svg width={width} height={height} aria-hidden="true">
            <defs>
              <marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" orient="auto">
                <path d="M0 0 8 4 0 8Z" />
              </marker>
            </defs>
            {edges.map(({ from, to, path }) => (
              <path
                key={`${from.node.id} ${to.node.id}`}
                d={path}
                class={done(from.node) === from.node.total ? "edge over" : "edge"}
                marker-end="url(#arrow)"
              />
            ))}
          </svg>
          {boxes.map((box) => (
            <NodeBox key={box.node.id} box={box} root={root} />
          ))}
        </div>
      </div>
      {left > 0 && <p class="quietly">{plural(left, "more step")} before these are not drawn.</p>}
    </>
  );
}

function NodeBox({ box: { node, x, y }, root }: { box: Box; root: string }): JSX.Element {
  const state = stateOf(node);
  const many = node.total > 1;
  const where = many
    ? { to: "/jobs", query: { q: `${token("root", root)} ${token("task", node.task)}` } }
    : { to: jobPath(node.parts[0].id) };
  const words = many ? manyWords(node) : oneWords(node.parts[0]);
  return (
    <div
      class={`node is-${state}`}
      style={{ transform: `translate(${x}px, ${y}px)`, width: `${SIZE.width}px`, height: `${SIZE.height}px` }}
    >
      <Link {...where} title={`${node.task}: ${words}`}>
        <span class="node-name">
          <StateIcon state={state} />
          <TaskName name={node.task} link={false} />
          {many && <b class="number">×{compact(node.total)}</b>}
        </span>
        {many && <StateBar counts={node.counts} order={STATES.filter((one) => node.counts[one])} />}
        <span class="node-words">{words}</span>
      </Link>
    </div>
  );
}

function manyWords(node: Node): string {
  if (!node.exact) return `${plural(node.parts.length, "job")} of them looked at`;
  const parts = (["failed", "running", "parked", "cancelled"] as const).filter((state) => node.counts[state]);
  const rest = parts.map((state) => `${count(node.counts[state] ?? 0)} ${state}`);
  return [`${count(node.counts.succeeded ?? 0)} done`, ...rest].join(", ");
}

function oneWords(part: Part): string {
  if (part.state === "waiting" && part.letters < part.awaited)
    return `has ${count(part.letters)} of ${count(part.awaited)} results`;
  if (!part.started_at || (part.state !== "running" && !part.finished_at)) return part.state;
  const end = part.finished_at ? Date.parse(part.finished_at) : now.value;
  return `${part.state}, ${duration(Math.max(0, end - Date.parse(part.started_at)) / 1000)}`;
}
