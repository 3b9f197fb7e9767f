/**
 * XML, as it comes: feeds (RSS, Atom) as entries under their titles, everything else as `name: text` a line. Entities of
 * a document's own are refused, and nothing is fetched: the parser knows neither.
 */
import { SaxesParser } from 'saxes';
import { decodeFile } from '../decode-stream.ts';
import { ExtractError } from '../extract-error.ts';
import type { StreamedExtractor } from '../extract-file.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { createHeadingScanner } from '../markdown-headings.ts';
import type { TextOutput } from '../text-output.ts';
import { createReferenceReader } from '../xml-references.ts';

const MAX_DEPTH = 500;
/** What may be held of a document: an element's text, or an attribute. */
const MAX_HELD_CHARS = 8_000_000;
/** Deeper HTML within a feed is read as text without structure. */
const MAX_HTML_CHARS = 2_000_000;

export const extractXml: StreamedExtractor = async ({ path }, output) => {
  const scanner = createHeadingScanner();
  output.onPiece = scanner.push;
  const state: State = { path: [], title: null, writer: undefined };
  const parser = createParser(state, output);
  const declared = (head: string) => /^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([\w:.-]+)/i.exec(head)?.[1];
  const references = createReferenceReader();
  const parse = (text: string) => {
    for (let at = 0; at < text.length; at += 64 * 1024) parser.write(text.slice(at, at + 64 * 1024));
  };
  for await (const piece of decodeFile(path, { declared })) parse(references.push(piece));
  parse(references.end());
  parser.close();
  state.writer?.end();
  output.end();
  return { title: state.title, pages: [], headings: scanner.end().headings };
};

interface State {
  path: string[];
  title: string | null;
  writer: Writer | undefined;
}

interface Writer {
  open(name: string, attributes: Readonly<Record<string, string>>, depth: number): void;
  text(text: string): void;
  close(name: string, depth: number): void;
  end(): void;
}

function createParser(state: State, output: TextOutput) {
  const parser = new SaxesParser<{ xmlns: false; position: true }>({ xmlns: false, position: true });
  parser.on('doctype', (doctype) => {
    // Exactly what XML bombs and stolen files are made of.
    if (/<!ENTITY/i.test(doctype)) {
      throw new ExtractError('corrupt', 'The document defines entities of its own, which are not read here.');
    }
  });
  parser.on('opentag', ({ name, attributes }) => {
    const local = localName(name);
    state.writer ??= isFeed(local) ? createFeedWriter(state, output) : createPlainWriter(output);
    state.path.push(local);
    if (state.path.length > MAX_DEPTH) {
      throw new ExtractError('limits_exceeded', 'The document is nested too deeply to be read.');
    }
    state.writer.open(local, attributes, state.path.length);
  });
  parser.on('text', (text) => state.writer?.text(text));
  parser.on('cdata', (text) => state.writer?.text(text));
  parser.on('closetag', () => {
    state.writer?.close(state.path.at(-1) ?? '', state.path.length);
    state.path.pop();
  });
  parser.on('error', (error) => {
    throw new ExtractError('corrupt', `The XML is broken near line ${parser.line} and cannot be read.`, error);
  });
  return parser;
}

const localName = (name: string) => name.slice(name.indexOf(':') + 1);
const isFeed = (root: string) => /^(?:rss|feed|RDF)$/.test(root);

/** A text that grows while an element is open, to a bound. */
function createHeld() {
  let pieces: string[] = [];
  let chars = 0;
  return {
    add(text: string): void {
      chars += text.length;
      if (chars > MAX_HELD_CHARS) throw new ExtractError('limits_exceeded', 'An element of the document is too long.');
      pieces.push(text);
    },
    take(): string {
      const text = pieces.join('');
      pieces = [];
      chars = 0;
      return text;
    },
  };
}

/**
 * `name: text` for elements of text alone, and `name (attribute: value)` for those with attributes. Elements within text
 * (`<p>one <b>word</b></p>`) are part of it; a blank line stands where an element of several others ends.
 */
function createPlainWriter(output: TextOutput): Writer {
  const held = createHeld();
  let label = '';
  /** Depth of the element whose text is being gathered, with what it holds; 0 for none. */
  let gathering = 0;
  let mixed = false;
  let gap = true;

  function flush(): void {
    const text = held.take().replace(/\s+/g, ' ').trim();
    mixed = false;
    if (text === '' && !label.includes('(')) {
      label = '';
      return;
    }
    output.write(`${label}${label && text ? ': ' : ''}${text}\n`);
    label = '';
    gap = false;
  }

  return {
    open(name, attributes, depth) {
      if (mixed && gathering > 0 && depth > gathering) return;
      flush();
      const said = Object.entries(attributes)
        .filter(([key, value]) => !/^xmlns(?::|$)|^xsi:/.test(key) && value.trim() !== '')
        .map(([key, value]) => `${localName(key)}: ${value.replace(/\s+/g, ' ').trim()}`);
      label = said.length > 0 ? `${name} (${said.join(', ')})` : name;
      gathering = depth;
    },
    text(text) {
      held.add(text);
      mixed ||= /\S/.test(text);
    },
    close(_, depth) {
      if (depth > gathering) return;
      flush();
      if (depth < gathering && !gap) {
        output.write('\n');
        gap = true;
      }
      gathering = Math.min(gathering, depth);
    },
    end: flush,
  };
}

/** Names that hold what an entry says, of RSS 0.9-2.0 and Atom. */
const BODY = /^(?:description|summary|content|encoded|subtitle|tagline)$/;
const FACTS: Readonly<Record<string, string>> = {
  creator: 'Author',
  author: 'Author',
  name: 'Author',
  pubDate: 'Published',
  published: 'Published',
  updated: 'Updated',
  date: 'Published',
  category: 'Category',
};

function createFeedWriter(state: State, output: TextOutput): Writer {
  const held = createHeld();
  let entry: Entry = { title: '', facts: [], bodies: [] };
  let inEntry = false;
  const isEntry = (name: string) => name === 'item' || name === 'entry';

  function flush(): void {
    const title = textOf(entry.title).replace(/\s+/g, ' ').trim();
    if (!inEntry && title) state.title ??= title;
    const facts = [...new Set(entry.facts)].join('\n');
    // A feed often says the same twice, once short: the longest has it all.
    const bodies = entry.bodies.map(textOf).toSorted((a, b) => b.length - a.length);
    const kept = bodies.filter((body, i) => i === 0 || !bodies[0]?.includes(body.slice(0, 80)));
    const blocks = [title && `${inEntry ? '##' : '#'} ${title}`, facts, ...kept].filter((block) => block !== '');
    if (blocks.length > 0) output.write(`${blocks.join('\n\n')}\n\n`);
    entry = { title: '', facts: [], bodies: [] };
  }

  return {
    open(name, attributes) {
      // HTML written as elements (Atom's xhtml) is read as its text.
      if (/^(?:p|div|br|li|h[1-6])$/.test(name)) held.add('\n');
      else if (isEntry(name)) {
        flush();
        inEntry = true;
        held.take();
      } else if (name in FACTS || BODY.test(name) || name === 'title') held.take();
      const term = attributes['term'];
      if (name === 'category' && term) entry.facts.push(`Category: ${term}`);
    },
    text: held.add,
    close(name) {
      if (isEntry(name)) {
        flush();
        inEntry = false;
        held.take();
        return;
      }
      const parent = state.path.at(-2) ?? '';
      if (name === 'title' && parent !== 'image') entry.title ||= held.take();
      else if (BODY.test(name)) entry.bodies.push(held.take());
      else if (name in FACTS) {
        const value = held.take().replace(/\s+/g, ' ').trim();
        if (value) entry.facts.push(`${FACTS[name]}: ${value}`);
      }
    },
    end: flush,
  };
}

interface Entry {
  title: string;
  facts: string[];
  bodies: string[];
}

/** What a feed's text says: HTML where it is written so. */
function textOf(source: string): string {
  if (!/<[a-z!/]|&\w+;|&#/i.test(source) || source.length > MAX_HTML_CHARS) return source.trim();
  return markdownOfHtml(source);
}
