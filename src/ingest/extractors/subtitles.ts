/**
 * Subtitles (SRT, WebVTT) as what is said: cues that make a paragraph are put together, and each paragraph begins with
 * the time at which it is said. Speakers of WebVTT's voice tags are named.
 */

import { cleanText } from '../clean-text.ts';
import { decodeFile } from '../decode-stream.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';

const TIMES = /^\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})\s*-->\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})/;
/** A paragraph ends with a sentence after this many characters, with a pause of this many seconds, or a new speaker. */
const PARAGRAPH_CHARS = 400;
const LONGEST_PARAGRAPH = 1200;
const PAUSE_SECONDS = 4;

interface Cue {
  start: number;
  end: number;
  speaker: string;
  text: string;
}

export const extractSubtitles: HeldExtractor = async ({ path }) => {
  const source = cleanText((await Array.fromAsync(decodeFile(path))).join(''));
  const cues = cuesOf(source.split('\n'));
  if (cues.length === 0) throw new ExtractError('corrupt', 'The subtitles have no readable times.');
  const text = paragraphsOf(cues)
    .map(({ start, speaker, text }) => `[${clock(start)}] ${speaker ? `${speaker}: ` : ''}${text}`)
    .join('\n\n');
  return { text: cleanText(text), title: null, pages: [], headings: [] };
};

function cuesOf(lines: readonly string[]): Cue[] {
  const cues: Cue[] = [];
  for (let i = 0; i < lines.length; i++) {
    const times = TIMES.exec(lines[i] ?? '');
    if (!times) continue;
    const said: string[] = [];
    // Up to the next cue or a blank line; a number alone before times is the next cue's.
    while (i + 1 < lines.length && lines[i + 1]?.trim() && !TIMES.test(lines[i + 1] ?? '')) {
      i += 1;
      const next = lines[i + 1] ?? '';
      if (/^\d+$/.test(lines[i]?.trim() ?? '') && TIMES.test(next)) break;
      said.push(lines[i] ?? '');
    }
    const [from, to] = [seconds(times, 1), seconds(times, 5)];
    for (const voice of said.join(' ').split(/(?=<v[\s.])/)) {
      const speaker = /^<v(?:\.[\w.]+)?\s+([^>]{1,100})>/.exec(voice)?.[1]?.trim() ?? '';
      const text = voice
        .replace(/<\/?[a-z][^<>]{0,200}>|<\d[\d:.]*>|\{\\an?\d+\}/gi, '')
        .replace(/&(amp|lt|gt|nbsp);/g, (_, name: string) => ({ amp: '&', lt: '<', gt: '>' })[name] ?? ' ')
        .replace(/\s+/g, ' ')
        .trim();
      if (text) cues.push({ start: from, end: to, speaker, text });
    }
  }
  return cues;
}

function paragraphsOf(cues: readonly Cue[]): Cue[] {
  const paragraphs: Cue[] = [];
  for (const cue of cues) {
    const last = paragraphs.at(-1);
    const ended = last && /[.!?。！？…"”]$/.test(last.text) && last.text.length >= PARAGRAPH_CHARS;
    const pause = last && cue.start - last.end > PAUSE_SECONDS;
    const turn = last && cue.speaker !== '' && cue.speaker !== last.speaker;
    if (!last || ended || pause || turn || last.text.length > LONGEST_PARAGRAPH) paragraphs.push({ ...cue });
    // Captions that roll repeat the line before.
    else if (!last.text.endsWith(cue.text)) {
      const tight = /[\u3000-\u9fff]$/.test(last.text) && /^[\u3000-\u9fff]/.test(cue.text);
      last.text += (tight ? '' : ' ') + cue.text;
      last.end = cue.end;
    } else last.end = cue.end;
  }
  return paragraphs;
}

function seconds(match: RegExpExecArray, from: number): number {
  const [hours = 0, minutes = 0, secs = 0, millis = 0] = match.slice(from, from + 4).map((part) => Number(part ?? 0));
  return hours * 3600 + minutes * 60 + secs + millis / 1000;
}

function clock(total: number): string {
  const parts = [Math.floor(total / 3600), Math.floor(total / 60) % 60, Math.floor(total) % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}
