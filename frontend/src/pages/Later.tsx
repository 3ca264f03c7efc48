/** The places of what comes with the flow release: said plainly, with what works until then. */
import type { JSX } from "preact";
import { Card, Empty, Head, useTitle } from "../parts/basic";

const CHAINED = `# until then: the last line of one task hands in the next
@app.task
def encode(video: str) -> None:
    ...
    publish.delay(video)`;

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
