import type { JSX } from "preact";
import { reads } from "../api";
import { plural } from "../format";
import { useRead } from "../read";
import { total } from "../series";
import { Card, Empty, Head, Skeleton, Trouble, useTitle } from "../parts/basic";
import { WorkerTable } from "../parts/WorkerTable";

export function Workers(): JSX.Element {
  useTitle("Workers");
  const { value, problem, again } = useRead(reads.workers());
  const codes = new Set(value?.workers.map((row) => row.code));
  const sum = (of: "slots" | "busy"): number => value?.workers.reduce((all, row) => all + total(row[of]), 0) ?? 0;
  return (
    <>
      <Head title="Workers" />
      {problem && <Trouble problem={problem} again={again} />}
      {value && value.workers.length > 0 && (
        <p class="summary">
          {plural(value.workers.length, "worker")}, <b class="number">{sum("busy")}</b> of{" "}
          <b class="number">{sum("slots")}</b> slots busy
          {codes.size > 1 && <span class="warn-text"> · {codes.size} versions of the code at once</span>}
        </p>
      )}
      <Card flush>
        {!value ? (
          !problem && <Skeleton />
        ) : value.workers.length ? (
          <WorkerTable rows={value.workers} />
        ) : (
          <Empty title="No worker lives" code="windlass worker main:app">
            Jobs wait safely until one does. Start one where your app is installed:
          </Empty>
        )}
      </Card>
    </>
  );
}
