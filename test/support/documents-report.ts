/** What a measuring test found, on the terminal. */
export function printTable(title: string, rows: readonly Record<string, string | number>[]): void {
  process.stdout.write(`\n${title}\n${Bun.inspect.table([...rows])}\n`);
}

/** A test that could not look at anything says so. */
export function printSkipped(what: string): void {
  process.stdout.write(`\nSKIPPED: ${what}\n`);
}
