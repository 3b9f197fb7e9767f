/**
 * What a chunk's text is, by the form of its lines. It decides how much the chunks around it count (`lexical-evidence.ts`),
 * so a mistake costs a little rank and nothing else. Linear in the text.
 */

/** `turn`: a single utterance of a talk · `talk`: several of them. */
export type ContentKind = 'prose' | 'turn' | 'talk' | 'code';

/** A longer line that begins like an utterance is a list or a definition. */
const LONGEST_TURN = 1_500;
const TALK_SHARE = 0.6;
const CODE_SHARE = 0.5;
const CODE_LINES = 4;

const NAME = String.raw`(?:[\p{Lu}@][\p{L}\p{M}\p{N}.'\u2019_-]{0,24}(?: [\p{Lu}\p{N}(][\p{L}\p{M}\p{N}.'\u2019_)-]{0,24}){0,3}|\p{Ll}[\p{L}\p{N}._-]{0,24}|\p{Script=Han}{1,6})`;
/** `[8 May 2023, 1:56 pm]`, `(10:32)`, `12/05/23, 10:33 -`, `2023-05-08 13:56`. */
const STAMP = String.raw`(?:[[(][^\])\n]{1,40}[\])]|\d[\d./:-]{2,10}(?:,?\s\d{1,2}:\d{2}(?::\d{2})?)?(?:\s?[AaPp]\.?[Mm]\.?)?)`;
/** `Name: …`, `Name (10:32): …`, `**Name:** …`, `<name> …`, each also behind a bullet or a stamp. */
const TURN = new RegExp(
  String.raw`^\s*(?:[-*>]\s+)?(?:${STAMP}\s*[-\u2013\u2014,]?\s*)?(?:\*{0,2}${NAME}\*{0,2}\s?(?:\([^)\n]{1,30}\)\s?)?[:\uff1a]\*{0,2}\s?[^\s/:]|<${NAME}>\s?\S)`,
  'u',
);

/** Lines as hardly any prose has them; most of a program's lines are of one of these forms. */
const CODE = new RegExp(
  [
    String.raw`[;{}]\s*$`,
    String.raw`^\s*(?:def|class|func|fn|function|struct|impl|namespace|package|interface|enum)\s+[\w$]+.*[({:;]\s*$`,
    String.raw`^\s*(?:if|elif|for|while|with|except|switch|try|else|finally|do|match|case)\b.*[:{(\\]\s*$`,
    String.raw`^\s*(?:import\s+[\w$.*{},\s]+|from\s+[\w.]+\s+import\s.*|#include\s.*|@\w+[\w.]*(?:\(.*\))?)\s*;?$`,
    String.raw`^\s*(?:return|raise|throw|yield|await|del|assert|pass|break|continue)\b[^.]*(?:\.\w+)?[\w)\]}'";]?$`,
    String.raw`^\s*(?:(?:const|let|var|val|auto|final|static)\s+)?[\w$.[\]'"]+(?:\s*,\s*[\w$.]+)*\s*(?:[-+*/|&^%:]|\*\*|//|>>|<<)?=\s*\S`,
    String.raw`^\s*[\w$.]+\(.*[,;)(\\]\s*$`,
    String.raw`^\s*[)\]}]+[,;:)]*\s*$`,
  ].join('|'),
  'u',
);

export function contentKind(text: string): ContentKind {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const share = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length / Math.max(1, lines.length);
  if (lines.length >= CODE_LINES && share(CODE) >= CODE_SHARE) return 'code';
  if (share(TURN) < TALK_SHARE) return 'prose';
  if (lines.length > 1) return 'talk';
  return (lines[0]?.length ?? 0) <= LONGEST_TURN ? 'turn' : 'prose';
}
