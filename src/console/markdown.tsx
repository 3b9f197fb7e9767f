/**
 * Markdown as elements. The parser's tokens become Preact nodes one by one and nothing ever becomes HTML source: markup
 * in an answer stays visible text, a link leads only to http(s) or mail, and an image is a link to be clicked, so that
 * a document cannot make the reader's browser fetch something. `[n]` becomes whatever `citation` makes of it.
 */

import { Marked, type MarkedToken, type Token } from 'marked';
import { type ComponentChildren, Fragment } from 'preact';

/** Link definitions are off: `[1]: …` in an answer must not turn the citation [1] into a link. */
const parser = new Marked({ gfm: true, tokenizer: { def: () => undefined } });

export interface MarkdownProps {
  text: string;
  /** The node for `[n]`, or `undefined` to leave it as text. */
  citation?(n: number): ComponentChildren;
}

export function Markdown({ text, citation }: MarkdownProps) {
  const cite = citation ?? (() => undefined);
  return <div class="prose">{renderAll(parser.lexer(text), cite)}</div>;
}

type Cite = (n: number) => ComponentChildren;

function renderAll(tokens: readonly Token[] | undefined, cite: Cite): ComponentChildren {
  return tokens?.map((token, index) => <Fragment key={index}>{render(token as MarkedToken, cite)}</Fragment>);
}

function render(token: MarkedToken, cite: Cite): ComponentChildren {
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'paragraph':
      return <p>{renderAll(token.tokens, cite)}</p>;
    case 'heading': {
      // The page has a heading of its own above every answer.
      const Tag = `h${Math.min(6, token.depth + 2)}` as 'h3' | 'h4' | 'h5' | 'h6';
      return <Tag>{renderAll(token.tokens, cite)}</Tag>;
    }
    case 'code':
      return (
        <pre>
          <code>{token.text}</code>
        </pre>
      );
    case 'codespan':
      return <code>{token.text}</code>;
    case 'blockquote':
      return <blockquote>{renderAll(token.tokens, cite)}</blockquote>;
    case 'list': {
      const items = token.items.map((item, index) => <li key={index}>{renderAll(item.tokens, cite)}</li>);
      return token.ordered ? <ol start={token.start === '' ? 1 : token.start}>{items}</ol> : <ul>{items}</ul>;
    }
    case 'checkbox':
      return <input type="checkbox" checked={token.checked} disabled />;
    case 'table':
      return (
        <div class="table-scroll">
          <table>
            <thead>
              <tr>
                {token.header.map((cell, index) => (
                  <th key={index}>{renderAll(cell.tokens, cite)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {token.rows.map((row, index) => (
                <tr key={index}>
                  {row.map((cell, column) => (
                    <td key={column}>{renderAll(cell.tokens, cite)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      );
    case 'hr':
      return <hr />;
    case 'br':
      return <br />;
    case 'strong':
      return <strong>{renderAll(token.tokens, cite)}</strong>;
    case 'em':
      return <em>{renderAll(token.tokens, cite)}</em>;
    case 'del':
      return <del>{renderAll(token.tokens, cite)}</del>;
    case 'link':
      return renderLink(token.href, renderAll(token.tokens, cite));
    case 'image':
      return renderLink(token.href, token.text || token.href);
    case 'text':
      return 'tokens' in token && token.tokens ? renderAll(token.tokens, cite) : renderText(token.text, cite);
    case 'escape':
      return token.text;
    default:
      // `html` among them: shown as it was written.
      return renderText(token.raw, cite);
  }
}

function renderLink(href: string, children: ComponentChildren): ComponentChildren {
  if (!isSafeLink(href)) return children;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

export function isSafeLink(href: string): boolean {
  try {
    return ['http:', 'https:', 'mailto:'].includes(new URL(href).protocol);
  } catch {
    return false;
  }
}

const CITATION = /(\[\d{1,3}\])/;

function renderText(text: string, cite: Cite): ComponentChildren {
  const parts = decodeEntities(text).split(CITATION);
  if (parts.length === 1) return parts[0];
  return parts.map((part, index) => {
    const node = index % 2 === 1 ? cite(Number(part.slice(1, -1))) : undefined;
    return <Fragment key={index}>{node ?? part}</Fragment>;
  });
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: '\u00a0' };

/** The parser leaves entities for HTML to resolve; there is no HTML here. */
function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,6}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[String(name).toLowerCase()] ?? whole;
    const point = decimal !== undefined ? Number(decimal) : Number.parseInt(String(hex), 16);
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
