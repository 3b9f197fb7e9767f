/** Counts, until somebody takes the count. */
export class Tally {
  private count = 0;

  inc(by = 1): void {
    this.count += by;
  }

  take(): number {
    const { count } = this;
    this.count = 0;
    return count;
  }
}
