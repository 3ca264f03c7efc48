/** Workflows and flows, by the job that stands for each. */
import type { JSX } from "preact";
import { reads } from "../api";
import { plural } from "../format";
import { useRead } from "../read";
import { param, setQuery, workflowPath } from "../router";
import { Button, Card, Clock, Empty, Head, Skeleton, Tabs, Trouble, useTitle } from "../parts/basic";
import { JobTable } from "../parts/JobTable";

const CODE = `from windlass import group

photos = group(resize.bind(photo) for photo in album)
job = await photos.then(publish).enqueue()   # publish takes the list of results`;
const SHOWN = {
  "under way": ["scheduled", "waiting", "running", "parked"],
  failed: ["failed"],
  finished: ["succeeded", "cancelled"],
} as const;
const NAMES = ["under way", "failed", "finished"] as const;

export function Workflows(): JSX.Element {
  useTitle("Workflows");
  const show = NAMES.find((name) => name === param("show")) ?? "under way";
  const before = param("before");
  const q = ["root:*", ...SHOWN[show].map((state) => `state:${state}`)].join(" ");
  const { value, problem, stale, again } = useRead(reads.jobs(q, before));
  // The ready ones apart: a large group has thousands, and its parts would hide all else from the search.
  const ready = useRead(show === "under way" && !before ? reads.jobs("root:* state:ready") : null).value?.jobs ?? [];
  const rows = [...(show === "under way" && !before ? ready : []), ...(value?.jobs ?? [])];
  return (
    <>
      <Head
        title="Workflows"
        actions={
          <Tabs
            of={NAMES.map((name) => [name, name] as const)}
            now={show}
            pick={(name) => setQuery({ show: name === "under way" ? null : name, before: null })}
            label="Which"
          />
        }
      />
      {problem && <Trouble problem={problem} again={again} />}
      <Card flush>
        {!value ? (
          !problem && <Skeleton rows={8} />
        ) : (
          <div class={stale ? "stale" : ""}>
            {rows.length ? (
              <JobTable rows={rows} to={workflowPath} />
            ) : (
              <Empty
                title={show === "under way" ? "No workflow is under way" : `No workflow that has ${show} is kept`}
                code={show === "under way" ? CODE : undefined}
              >
                Chains, groups with a join, maps and durable flows: each is one line here, and its graph behind it.
              </Empty>
            )}
            {(value.next || before) && (
              <div class="pager">
                <span class="faint">
                  {value.searched_to ? (
                    <>
                      searched back to <Clock at={value.searched_to} />
                    </>
                  ) : (
                    plural(rows.length, "workflow")
                  )}
                </span>
                <Button icon="left" disabled={!before} onClick={() => setQuery({ before: null })}>
                  Newest
                </Button>
                <Button disabled={!value.next} onClick={() => setQuery({ before: value.next })}>
                  {value.searched_to ? "Search on" : "Older"}
                </Button>
              </div>
            )}
          </div>
        )}
      </Card>
    </>
  );
}
