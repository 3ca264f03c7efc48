import type { JSX } from "preact";
import { reads } from "../api";
import { token } from "../filter";
import { compact, duration, share } from "../format";
import { useKeys } from "../keys";
import { useRead } from "../read";
import { param, setQuery } from "../router";
import { Card, Empty, Head, JobsLink, Skeleton, TaskName, Trouble, useTitle } from "../parts/basic";
import { Spark } from "../parts/figures";
import { range } from "../parts/Shell";

const CODE = `@app.task(queue="media", timeout="10m")
def resize(image_id: int, width: int = 800) -> str:
    """Make the small picture."""`;

export function Tasks(): JSX.Element {
  useTitle("Task types");
  const { value, problem, again } = useRead(reads.tasks(range()));
  useKeys({ "/": () => document.getElementById("find-task")?.focus() });
  const wanted = param("find").toLowerCase();
  const rows = value?.tasks.filter((row) => !wanted || row.name.toLowerCase().includes(wanted)) ?? [];
  return (
    <>
      <Head
        title="Task types"
        actions={
          value &&
          value.tasks.length > 0 && (
            <input
              id="find-task"
              type="search"
              placeholder="Find a task"
              aria-label="Find a task"
              value={param("find")}
              onInput={(event) => setQuery({ find: event.currentTarget.value }, true)}
            />
          )
        }
      />
      {problem && <Trouble problem={problem} again={again} />}
      <Card flush>
        {!value ? (
          !problem && <Skeleton rows={12} />
        ) : !value.tasks.length ? (
          <Empty title="No task yet" code={CODE}>
            Every function with this line above it is one:
          </Empty>
        ) : !rows.length ? (
          <Empty title="No task has this in its name" />
        ) : (
          <div class="scroller">
            <table class="table">
              <thead>
                <tr>
                  <th scope="col">task</th>
                  <th scope="col" class="c2">
                    queue
                  </th>
                  <th scope="col" class="right">
                    ended
                  </th>
                  <th scope="col" class="right">
                    failed
                  </th>
                  <th scope="col" class="right c2">
                    median
                  </th>
                  <th scope="col" class="right c2">
                    95 %
                  </th>
                  <th scope="col" class="c3">
                    ended lately
                  </th>
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row.name}>
                    <td class="main-cell">
                      <TaskName name={row.name} />
                      <span class="faint sub">{row.doc.split("\n")[0]}</span>
                    </td>
                    <td class="c2">
                      {row.queue}
                      <span class="faint"> · {row.lane}</span>
                    </td>
                    <td class="right">
                      <JobsLink q={token("task", row.name)}>{compact(row.count)}</JobsLink>
                    </td>
                    <td class="right">
                      <JobsLink q={`state:failed ${token("task", row.name)}`}>
                        <span class={row.failed_share >= 0.05 ? "bad-text" : ""}>{share(row.failed_share)}</span>
                      </JobsLink>
                    </td>
                    <td class="right number c2">{duration(row.p50)}</td>
                    <td class="right number c2">{duration(row.p95)}</td>
                    <td class="c3">
                      <Spark values={row.spark} label={`${row.name} lately`} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
    </>
  );
}
