import type { JSX } from "preact";
import { reads } from "../api";
import { useRead } from "../read";
import { Card, Empty, Head, Skeleton, Trouble, useTitle } from "../parts/basic";
import { QueueTable } from "../parts/QueueTable";
import { range } from "../parts/Shell";

const CODE = `@app.task(queue="media")
def transcode(video: str) -> str: ...

# a worker for it:  windlass worker main:app --queue media`;

export function Queues(): JSX.Element {
  useTitle("Queues");
  const { value, problem, again } = useRead(reads.queues(range()));
  return (
    <>
      <Head title="Queues" />
      {problem && <Trouble problem={problem} again={again} />}
      <Card flush>
        {!value ? (
          !problem && <Skeleton />
        ) : value.queues.length ? (
          <QueueTable rows={value.queues} />
        ) : (
          <Empty title="No queue yet" code={CODE}>
            A queue is there as soon as a job is in it. Without a name it is “default”.
          </Empty>
        )}
      </Card>
    </>
  );
}
