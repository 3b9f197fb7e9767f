/**
 * The console as a person meets it, in a real browser against a whole server: with the mouse, with the keyboard alone, in
 * both languages, light and dark, on a desk and on a phone. Pictures of each are left in the system's temporary folder.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, FileChooser, Locator, Page } from 'playwright-core';
import { findChromium, launchChromium } from '../support/browser.ts';
import { startDreamhub } from '../support/dreamhub.ts';
import { type FakeOpenAi, startFakeOpenAi } from '../support/fake-openai.ts';

const CHROMIUM = findChromium();
if (CHROMIUM === undefined) {
  process.stderr.write(
    '\nSKIPPED: no browser was found, so the console was not tested. Install chromium, or name one in CHROMIUM.\n\n',
  );
}

const PICTURES = join(tmpdir(), 'dreamhub-console');
const PASSWORD = 'correct horse battery';
const FACT = 'The main telescope of the Kestrel observatory has a mirror of 2.4 metres.';
const QUESTION = 'How large is the mirror of the main telescope?';

function handbook(): string {
  const chapters = ['The terrace', 'The dome', 'Opening hours', 'The library', 'The workshop', 'The path up the hill'];
  const filler = 'Visitors are asked not to use lamps after sunset, and to keep to the marked path. ';
  const parts = chapters.map((title, index) => `# ${title}\n\n${filler.repeat(12)}Chapter ${index + 1} ends here.\n`);
  parts.splice(3, 0, `# The instrument\n\n${FACT} It weighs eleven tonnes.\n`);
  return parts.join('\n');
}

interface Visit {
  page: Page;
  /** Requests that left for another host, errors of the console and of the page. */
  offences: string[];
  /** Frames that the server has pushed. */
  frames: { type: string; data?: { text?: string; progress?: number } }[];
  close(): Promise<void>;
}

describe.skipIf(CHROMIUM === undefined)('the console', () => {
  let browser: Browser;
  let server: Awaited<ReturnType<typeof startDreamhub>>;
  /** A model that can be held in the middle of a sentence. */
  let model: FakeOpenAi;
  let people = 0;

  beforeAll(async () => {
    await mkdir(PICTURES, { recursive: true });
    model = startFakeOpenAi();
    server = await startDreamhub('embedded', {
      OPENAI_BASE_URL: model.url,
      OPENAI_API_KEYS: 'key',
      EMBEDDING_DIMENSIONS: '256',
    });
    browser = await launchChromium(CHROMIUM ?? '');
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    await model?.stop();
  });

  async function visit(options: BrowserContextOptions = {}): Promise<Visit> {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      locale: 'en-US',
      reducedMotion: 'reduce',
      ...options,
    });
    const page = await context.newPage();
    const offences: string[] = [];
    const frames: Visit['frames'] = [];
    const own = new URL(server.url).host;
    page.on('request', (request) => {
      const { host, protocol } = new URL(request.url());
      if (host !== own && protocol !== 'data:') offences.push(`request to ${request.url()}`);
    });
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') offences.push(message.text());
    });
    page.on('pageerror', (error) => offences.push(error.message));
    page.on('websocket', (socket) =>
      socket.on('framereceived', ({ payload }) => frames.push(JSON.parse(String(payload)) as Visit['frames'][number])),
    );
    // Every value that a bar shows, however briefly.
    await page.addInitScript(() => {
      const seen: number[] = [];
      Object.assign(window, { barValues: seen });
      new MutationObserver(() => {
        const value = document.querySelector('progress')?.value;
        if (value !== undefined && seen.at(-1) !== value) seen.push(value);
      }).observe(document, { subtree: true, childList: true, attributes: true });
    });
    await page.goto(server.url);
    return { page, offences, frames, close: () => context.close() };
  }

  async function register(page: Page): Promise<void> {
    people += 1;
    await page.getByRole('tab').nth(1).click();
    await page.locator('[name=organization]').fill(`Kestrel ${people} ${Date.now()}`);
    await page.locator('[name=email]').fill(`person-${people}-${Date.now()}@example.com`);
    await page.locator('[name=password]').fill(PASSWORD);
    await page.locator('button[type=submit]').click();
    await page.locator('.connection[data-state=open]').waitFor();
  }

  async function upload(page: Page): Promise<void> {
    const file = { name: 'handbook.md', mimeType: 'text/markdown', buffer: Buffer.from(handbook()) };
    await page.locator('[data-testid=file]').setInputFiles(file);
    await page.locator('.row[data-phase=ready]').waitFor();
  }

  /** Asks and waits for the whole answer. */
  async function ask(page: Page): Promise<Locator> {
    await page.locator('textarea').fill(QUESTION);
    await page.locator('textarea').press('Enter');
    const answer = page.locator('article.answer').last();
    await answer.locator('.sources').waitFor();
    return answer;
  }

  async function picture(page: Page, name: string): Promise<void> {
    await page.screenshot({ path: join(PICTURES, `${name}.png`) });
  }

  test('registers, uploads with a moving bar, streams an answer and opens its source', async () => {
    const { page, offences, frames, close } = await visit();
    await register(page);
    await upload(page);
    const values = await page.evaluate(() => (window as unknown as { barValues: number[] }).barValues);
    expect(values.length).toBeGreaterThan(1);
    expect(values).toEqual([...values].sort((a, b) => a - b));
    expect(frames.filter(({ type }) => type === 'task.progress').length).toBeGreaterThan(0);
    expect(frames.filter(({ type }) => type === 'task.succeeded')).toHaveLength(1);

    const answer = await ask(page);
    const deltas = frames.filter(({ type }) => type === 'turn.delta').map(({ data }) => data?.text ?? '');
    expect(deltas.length).toBeGreaterThan(1);
    expect(deltas.join('')).toContain('2.4 metres');
    expect(await answer.textContent()).toContain('2.4 metres');
    await picture(page, 'answer');

    await answer.locator('.cite').first().click();
    const mark = page.locator('.source-panel mark');
    await mark.waitFor();
    expect(handbook()).toContain((await mark.textContent()) ?? 'nothing');
    expect(await page.locator('.source-panel').textContent()).toContain('Quote checked word for word');
    await picture(page, 'source');
    expect(offences).toEqual([]);
    await close();
  });

  test('keeps what a person sets and says of answers, and never shows a key again', async () => {
    const { page, offences, close } = await visit();
    await register(page);
    await upload(page);
    const answer = await ask(page);
    const good = answer.getByRole('button', { name: 'Good answer' });
    const bad = answer.getByRole('button', { name: 'Bad answer' });
    await good.click();
    await answer.locator('[aria-pressed=true][aria-label="Good answer"]').waitFor();
    await bad.click();
    await answer.locator('[aria-pressed=true][aria-label="Bad answer"]').waitFor();
    expect(await good.getAttribute('aria-pressed')).toBe('false');
    await picture(page, 'rated');

    const open = async () => {
      await page.getByRole('button', { name: 'Settings' }).click();
      await page.getByLabel('How you want to be answered').waitFor();
    };
    await open();
    await page.getByLabel('How you want to be answered').fill('Keep to three sentences.');
    await page.getByLabel('Language of answers').selectOption('de');
    await page.getByLabel('Your own API key').fill('sk-of-a-person-1234567890wxyz');
    await picture(page, 'settings');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });

    await page.reload();
    await page.locator('.connection[data-state=open]').waitFor();
    await page.locator('[aria-pressed=true][aria-label="Bad answer"]').waitFor();
    await open();
    expect(await page.getByLabel('How you want to be answered').inputValue()).toBe('Keep to three sentences.');
    expect(await page.getByLabel('Language of answers').inputValue()).toBe('de');
    const key = page.getByLabel('Your own API key');
    expect(await key.inputValue()).toBe('');
    expect(await key.getAttribute('placeholder')).toBe('Kept, ends in wxyz');
    expect(await page.content()).not.toContain('sk-of-a-person');
    await picture(page, 'settings-kept');
    await page.keyboard.press('Escape');
    await page.locator('dialog').waitFor({ state: 'detached' });

    await ask(page);
    await page.locator('article.answer').nth(1).locator('.sources').waitFor();
    const asked = model.requests.findLast(({ route }) => route === 'chat');
    expect(asked?.key).toBe('sk-of-a-person-1234567890wxyz');
    expect(JSON.stringify(asked?.body['messages'])).toContain('Answer in German (de)');

    await page.setViewportSize({ width: 390, height: 844 });
    await open();
    await picture(page, 'settings-phone');
    await page.getByLabel('Remove the key').check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
    await open();
    expect(await page.getByLabel('Your own API key').getAttribute('placeholder')).toContain('None');
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    expect(offences).toEqual([]);
    await close();
  });

  test('needs no mouse', async () => {
    const { page, offences, close } = await visit();
    const focused = () => page.evaluate(() => document.activeElement?.outerHTML ?? '');
    /** Presses Tab until the wanted element has the focus, as somebody without a mouse would. */
    const tabTo = async (wanted: Locator, key: 'Tab' | 'Shift+Tab' = 'Tab') => {
      for (let presses = 0; presses < 60; presses += 1) {
        if (await wanted.evaluate((element) => element === document.activeElement)) return;
        await page.keyboard.press(key);
      }
      throw new Error(`The focus never came to it; it is on ${await focused()}`);
    };

    // Listened for from the start: the browser is told only then to hand choosers over, and does not say when it does.
    const chooser = Promise.withResolvers<FileChooser>();
    page.once('filechooser', chooser.resolve);

    await tabTo(page.getByRole('tab').nth(1));
    await page.keyboard.press('Enter');
    await tabTo(page.locator('[name=organization]'));
    await page.keyboard.type(`Keys ${Date.now()}`);
    await page.keyboard.press('Tab');
    await page.keyboard.type(`keys-${Date.now()}@example.com`);
    await page.keyboard.press('Tab');
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press('Enter');
    await page.locator('.connection[data-state=open]').waitFor();

    await tabTo(page.locator('.drop'));
    await page.keyboard.press('Enter');
    await (await chooser.promise).setFiles({
      name: 'handbook.md',
      mimeType: 'text/markdown',
      buffer: Buffer.from(handbook()),
    });
    await page.locator('.row[data-phase=ready]').waitFor();

    await page.keyboard.press('/');
    expect(await focused()).toContain('textarea');
    await page.keyboard.type('How large is the mirror');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('of the main telescope?');
    await page.keyboard.press('Enter');
    const answer = page.locator('article.answer');
    await answer.locator('.sources').waitFor();
    expect(await page.locator('.bubble').textContent()).toBe('How large is the mirror\nof the main telescope?');

    const cite = answer.locator('.cite').first();
    await tabTo(cite, 'Shift+Tab');
    await page.keyboard.press('Enter');
    await page.locator('.source-panel mark').waitFor();
    expect(await focused()).toContain('source-panel');
    await page.keyboard.press('Escape');
    await page.locator('.source-panel').waitFor({ state: 'detached' });
    expect(await cite.evaluate((element) => element === document.activeElement)).toBe(true);

    const remove = page.locator('.row .icon-button');
    await tabTo(remove);
    await page.keyboard.press('Enter');
    await page.locator('dialog[open]').waitFor();
    await tabTo(page.locator('dialog .danger'));
    await page.keyboard.press('Enter');
    await page.locator('.row').waitFor({ state: 'detached' });
    expect(offences).toEqual([]);
    await close();
  });

  /** Asks, and resolves once the first words of an answer stand there that does not end by itself. */
  async function askAndHold(page: Page): Promise<Locator> {
    model.next('chat', { type: 'hang-mid', tokens: 6 });
    await page.locator('textarea').fill(QUESTION);
    await page.locator('textarea').press('Enter');
    const streaming = page.locator('article[data-turn=running] .streaming p');
    await streaming.first().waitFor();
    return streaming;
  }

  test('stops an answer on request, and the model with it', async () => {
    const { page, offences, close } = await visit();
    await register(page);
    await upload(page);
    const streaming = await askAndHold(page);
    await picture(page, 'streaming');
    const text = (await streaming.textContent()) ?? '';
    expect(text).not.toBe('');
    await page.getByRole('button', { name: 'Stop' }).click();
    const stopped = page.locator('article[data-turn=cancelled]');
    await stopped.waitFor();
    expect(await stopped.textContent()).toContain(text);
    await model.waitFor(({ route, state }) => route === 'chat' && state === 'aborted');
    expect(await page.getByRole('button', { name: 'Stop' }).count()).toBe(0);
    expect(offences).toEqual([]);
    await close();
  });

  test('has everything again after a reload, a running answer too', async () => {
    const { page, offences, close } = await visit();
    await register(page);
    await upload(page);
    const begun = (await (await askAndHold(page)).textContent()) ?? '';
    await page.reload();
    const answer = page.locator('article.answer');
    await answer.locator('.streaming p').waitFor();
    expect(await answer.textContent()).toContain(begun);
    model.release();
    // Stored: without the marks of an answer under way.
    const stored = page.locator('article.answer:not([data-turn])');
    await stored.waitFor();
    const text = await answer.textContent();
    expect(text).toContain(begun);
    await page.reload();
    await stored.waitFor();
    expect(await answer.textContent()).toBe(text);
    expect(await answer.count()).toBe(1);
    expect(await page.locator('.row[data-phase=ready]').count()).toBe(1);
    expect(offences).toEqual([]);
    await close();
  });

  test('renames and deletes a conversation, and leaves on request', async () => {
    const { page, offences, close } = await visit();
    await register(page);
    await upload(page);
    await ask(page);
    await page.locator('.conversation').hover();
    await page.getByRole('button', { name: /^Rename/ }).click();
    await page.locator('dialog input').fill('About the mirror');
    await page.locator('dialog button[type=submit]').click();
    await page.getByText('About the mirror').waitFor();
    await page.locator('.conversation').hover();
    await page.getByRole('button', { name: /^Delete: About/ }).click();
    await page.locator('dialog .danger').click();
    await page.locator('.conversation').waitFor({ state: 'detached' });
    expect(await page.locator('article').count()).toBe(0);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.locator('.login-card').waitFor();
    expect(await page.evaluate(() => localStorage.getItem('dreamhub.session'))).toBeNull();
    expect(offences).toEqual([]);
    await close();
  });

  test('says what could not be loaded, and loads it when asked again', async () => {
    const { page, close } = await visit();
    await register(page);
    await upload(page);
    await ask(page);
    const lists = /\/api\/v1\/(conversations|documents)(\?|$)/;
    await page.route(lists, (route) => route.abort());
    await page.reload();
    const failures = page.locator('.failure[role=alert]');
    await failures.nth(1).waitFor();
    expect(await failures.allTextContents()).toEqual([
      'The conversations could not be loaded: The server cannot be reached.Try again',
      'The documents could not be loaded: The server cannot be reached.Try again',
    ]);
    await picture(page, 'failures');
    await page.getByRole('button', { name: '中文' }).click();
    await page.getByText('无法加载文档列表：无法连接服务器。').waitFor();
    await page.unroute(lists);
    // Each takes its message away once it has its list, whichever was faster.
    await page.locator('.conversations .failure button').click();
    await page.locator('.documents .failure button').click();
    await page.locator('.conversation').waitFor();
    await page.locator('.row[data-phase=ready]').waitFor();
    expect(await failures.count()).toBe(0);
    await close();
  });

  const LOOKS: [name: string, options: BrowserContextOptions][] = [
    ['light-en', { colorScheme: 'light' }],
    ['dark-zh', { colorScheme: 'dark', locale: 'zh-CN' }],
    [
      'phone-light-zh',
      { colorScheme: 'light', locale: 'zh-CN', viewport: { width: 390, height: 780 }, hasTouch: true },
    ],
    ['phone-dark-en', { colorScheme: 'dark', viewport: { width: 360, height: 720 }, hasTouch: true }],
  ];

  test.each(LOOKS)('fits and speaks as asked: %s', async (name, options) => {
    const { page, offences, close } = await visit(options);
    const chinese = options.locale === 'zh-CN';
    const narrow = (options.viewport?.width ?? 1280) < 720;
    await picture(page, `${name}-login`);
    await register(page);
    await page.locator(`html[lang=${chinese ? 'zh-CN' : 'en'}]`).waitFor();
    await page.getByRole('heading', { name: chinese ? '想了解什么？' : 'What would you like to know?' }).waitFor();
    if (narrow) await page.locator('.tabs button').nth(2).click();
    await upload(page);
    await picture(page, `${name}-documents`);
    if (narrow) await page.locator('.tabs button').nth(1).click();
    const answer = await ask(page);
    await picture(page, `${name}-chat`);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
    await answer.locator('.cite').first().click();
    await page.locator('.source-panel mark').waitFor();
    await picture(page, `${name}-source`);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: chinese ? 'English' : '中文' }).click();
    await page.locator(`html[lang=${chinese ? 'en' : 'zh-CN'}]`).waitFor();
    expect(offences).toEqual([]);
    await close();
  });

  test('shows the API description with nothing from outside', async () => {
    const { page, offences, close } = await visit();
    await page.goto(`${server.url}/swagger`);
    await page.locator('.opblock').first().waitFor();
    await picture(page, 'swagger');
    expect(offences).toEqual([]);
    await close();
  });
});
