/** What a process may never have to say, whatever broke around it: each such line of its log breaks a promise. */
const ALARMS = [
  // Admission counts in the transaction that it admits; a repair would hide that it did not.
  'a queue counter was not what its rows say',
  // Nothing queued is ever trimmed away.
  'entries were trimmed away while they were being worked on',
];

export interface AlarmReader {
  read(text: string): void;
  /** What was read so far and nobody has taken out. */
  readonly alarms: string[];
}

/** Reads a log as it comes, in pieces that end anywhere. */
export function createAlarmReader(): AlarmReader {
  const alarms: string[] = [];
  let rest = '';
  return {
    alarms,
    read(text) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      alarms.push(...lines.filter((line) => ALARMS.some((alarm) => line.includes(alarm))));
    },
  };
}
