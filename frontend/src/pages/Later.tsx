/** The places of what comes with the flow release: said plainly, with what works until then. */
import type { JSX } from "preact";
import { Link } from "../router";
import { Card, Empty, Head, useTitle } from "../parts/basic";

const DELAYED = `# until then: a job that hands itself in again
@app.task
def report() -> None:
    ...
    report.options(delay="1d", key="daily-report").delay()`;

const CHAINED = `# until then: the last line of one task hands in the next
@app.task
def encode(video: str) -> None:
    ...
    publish.delay(video)`;

export function Schedules(): JSX.Element {
  useTitle("Schedules");
  return (
    <>
      <Head title="Schedules" />
      <Card>
        <Empty title="Schedules arrive with the flow release" code={DELAYED}>
          Cron with time zones, the next runs, what was missed, edited here. Jobs with a delay exist already:{" "}
          <Link to="/jobs" query={{ q: "state:scheduled" }}>
            those that are scheduled
          </Link>
          .
        </Empty>
      </Card>
    </>
  );
}

export function Workflows(): JSX.Element {
  useTitle("Workflows");
  return (
    <>
      <Head title="Workflows" />
      <Card>
        <Empty title="Workflows arrive with the flow release" code={CHAINED}>
          Chains, groups, joins and durable flows, drawn as they run.
        </Empty>
      </Card>
    </>
  );
}
