"""The worker: claims jobs, runs them in lanes, settles how they ended. `Runner` embedded, or `Supervisor` above processes."""
