/**
 * Equations of Office (OMML, ISO/IEC 29500-1, 22.1) in a line, as people type them: `x=(-b±√(b^2-4ac))/(2a)`. Fractions and
 * exponents of several signs are put in brackets, so that it stays clear what belongs where.
 */
interface Open {
  name: string;
  /** What came within, by what it is of: `num`, `sup` … , `''` for the rest. */
  said: Map<string, string[]>;
  begin: string;
  end: string;
  sign: string;
}

/** Elements that say something about what is around them. */
const STRUCTURES = new Set([
  'f',
  'd',
  'rad',
  'nary',
  'sSup',
  'sSub',
  'sSubSup',
  'sPre',
  'func',
  'mr',
  'm',
  'limLow',
  'limUpp',
]);
const PARTS = new Set(['num', 'den', 'sup', 'sub', 'e', 'deg', 'fName', 'lim']);
const TOKEN =
  /<m:t(?:\s[^<>]*)?>([^<]*)<|<m:(begChr|endChr|chr)\s[^<>]*?m:val="([^"<>]*)"|<(\/?)m:(\w+)(?:\s[^<>]*?)?(\/?)>/g;

/** `xml` is of one equation; what comes is escaped as it was. */
export function equationText(xml: string): string {
  const root = open('');
  const stack: Open[] = [root];
  const top = () => stack.at(-1) ?? root;
  const say = (part: string, text: string) => {
    const { said } = top();
    said.set(part, [...(said.get(part) ?? []), text]);
  };
  for (const [, text, property, value = '', closing, name = '', empty] of xml.matchAll(TOKEN)) {
    if (text !== undefined) say('', text);
    else if (property === 'begChr') top().begin = value;
    else if (property === 'endChr') top().end = value;
    else if (property === 'chr') top().sign = value;
    else if (empty || (!STRUCTURES.has(name) && !PARTS.has(name))) continue;
    else if (!closing) stack.push(open(name));
    else if (stack.length > 1 && top().name === name) {
      const done = stack.pop() ?? root;
      say(PARTS.has(name) ? name : '', PARTS.has(name) ? all(done) : shown(done));
    }
  }
  // What was never closed is said all the same.
  return stack.map(all).join('');
}

const open = (name: string): Open => ({ name, said: new Map(), begin: '(', end: ')', sign: '∫' });

function shown(element: Open): string {
  const { name, said, begin, end, sign } = element;
  const of = (part: string) => (said.get(part) ?? []).join('');
  const scripts = (said.has('sub') ? `_${grouped(of('sub'))}` : '') + (said.has('sup') ? `^${grouped(of('sup'))}` : '');
  switch (name) {
    case 'f':
      return `${grouped(of('num'))}/${grouped(of('den'))}`;
    case 'd':
      return `${begin}${(said.get('e') ?? []).join(',')}${end}`;
    case 'rad':
      return `${of('deg') && `${of('deg')}`}√${grouped(of('e'))}`;
    case 'nary':
      return `${sign}${of('sub') ? `_${grouped(of('sub'))}` : ''}${of('sup') ? `^${grouped(of('sup'))}` : ''} ${of('e')}`;
    case 'sSup':
    case 'sSub':
    case 'sSubSup':
      return `${of('e')}${scripts}`;
    case 'sPre':
      return `${scripts}${of('e')}`;
    case 'func':
      return `${of('fName')} ${of('e')}`;
    case 'limLow':
    case 'limUpp':
      return `${of('e')}_${grouped(of('lim'))}`;
    case 'mr':
      return `${(said.get('e') ?? []).join(', ')}; `;
    default:
      return all(element).replace(/; $/, '');
  }
}

const all = ({ said }: Open): string => [...said.values()].flat().join('');

/** One sign, number or word needs no brackets. */
function grouped(text: string): string {
  return /^(?:\p{L}+|[\d.,]+|.|\([^()]*\))$/u.test(text) ? text : `(${text})`;
}
