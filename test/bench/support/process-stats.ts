/** What Linux tells about a running process. A process that has ended reads as nothing. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { median } from './rounds.ts';

const KB = 1_024;
export const MB = 1_048_576;
/** `sysconf(_SC_CLK_TCK)`, 100 on every Linux that Bun runs on. */
const TICKS_A_SECOND = 100;

async function readProc(pid: number, file: string): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function kilobytesOf(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * KB;
}

/** The fields after the command's name, which may itself hold spaces and brackets; the first is the state. */
function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Bytes resident now. */
export async function residentOf(pid: number): Promise<number> {
  return kilobytesOf(await readProc(pid, 'status'), 'VmRSS');
}

/** The most bytes resident since the start, or since `resetPeak`. */
export async function peakOf(pid: number): Promise<number> {
  return kilobytesOf(await readProc(pid, 'status'), 'VmHWM');
}

/** From now on `peakOf` knows nothing of what was before (proc(5), clear_refs). */
export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

/** The name of the process's program; empty where there is no such process. */
export async function programOf(pid: number): Promise<string> {
  return (await readProc(pid, 'comm')).trim();
}

/** Microseconds of processor time used so far, user and system, all threads. */
export async function processorTimeOf(pid: number): Promise<number> {
  const fields = fieldsOf(await readProc(pid, 'stat'));
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND) * 1e6;
}

/** Microseconds of processor time of a process that has one thread; exact where `processorTimeOf` counts ticks. */
export async function threadTimeOf(pid: number): Promise<number> {
  return Number((await readProc(pid, 'schedstat')).split(' ')[0]) / 1_000;
}

/** The process and everything it started. */
async function treeOf(root: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (Number.isInteger(pid)) parents.set(pid, Number(fieldsOf(await readProc(pid, 'stat'))[1]));
  }
  const tree = new Set([root]);
  for (let before = 0; before < tree.size; ) {
    before = tree.size;
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid);
  }
  return [...tree];
}

/** Bytes resident of the whole tree: pages that several of its processes share count once for each. */
export async function treeResidentOf(root: number): Promise<number> {
  const sizes = await Promise.all((await treeOf(root)).map(residentOf));
  return sizes.reduce((sum, size) => sum + size, 0);
}

export interface SettleOptions {
  /** Bytes by which the samples of one window may differ. */
  within?: number;
  windowMs?: number;
  everyMs?: number;
  timeoutMs?: number;
}

/** Samples until a whole window of samples lies close together, and returns its median. Throws where it never does. */
export async function settled(
  sample: () => Promise<number>,
  { within = 2 * MB, windowMs = 3_000, everyMs = 200, timeoutMs = 60_000 }: SettleOptions = {},
): Promise<number> {
  const samples: number[] = [];
  const needed = Math.ceil(windowMs / everyMs);
  for (const started = performance.now(); performance.now() - started < timeoutMs; ) {
    samples.push(await sample());
    const window = samples.slice(-needed);
    if (window.length === needed && Math.max(...window) - Math.min(...window) <= within) return median(window);
    await Bun.sleep(everyMs);
  }
  throw new Error(
    `Memory did not settle within ${timeoutMs / 1_000} s; last samples: ${samples.slice(-5).join(', ')} bytes.`,
  );
}
