/** A line for whoever watches a run: figures, and how to repeat it. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
