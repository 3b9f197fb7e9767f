/**
 * Where a log is, as its metadata say it and as every message about it begins: one string, so that whoever appended last
 * finds out with one comparison whether anybody came in between.
 */

export interface LogPosition {
  epoch: string;
  /** The last event; 0 in an empty log. */
  seq: number;
  attempt: number;
  /** The attempt has ended. */
  final: boolean;
  /** Who appended last, the number of that group, and how many events of it were appended. */
  writer: string;
  number: number;
  appended: number;
}

export function formatPosition({ epoch, seq, attempt, final, writer, number, appended }: LogPosition): string {
  return `${epoch} ${seq} ${attempt} ${final ? 1 : 0} ${writer} ${number} ${appended}`;
}

export function parsePosition(state: string): LogPosition {
  const [epoch = '', seq, attempt, final, writer = '', number, appended] = state.split(' ');
  return {
    epoch,
    seq: Number(seq),
    attempt: Number(attempt),
    final: final === '1',
    writer,
    number: Number(number),
    appended: Number(appended),
  };
}

/** The state of a log that nobody has written to. */
export const emptyState = (epoch: string) =>
  formatPosition({ epoch, seq: 0, attempt: 0, final: false, writer: '-', number: 0, appended: 0 });
