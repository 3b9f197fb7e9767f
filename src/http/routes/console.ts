/** The web console: its page at `/`, its assets, and what it has to know before anybody has logged in. All public. */
import { Elysia, t } from 'elysia';
import { AppError } from '../../kernel/errors.ts';
import { bundleConsole, type ConsoleBundle } from '../console-bundle.ts';
import { pageHeaders, serveFile } from '../static.ts';

export interface ConsoleOptions {
  /** A login to offer, where the server made one up for itself. */
  demo: { tenant: string; email: string; password: string } | null;
  version: string;
}

const DemoLogin = t.Object({ tenant: t.String(), email: t.String(), password: t.String() });
const ConsoleConfig = t.Object({ demo: t.Nullable(DemoLogin), version: t.String() });

/** No string becomes markup or script in the console, so the page forbids it altogether. */
const HEADERS = pageHeaders({ 'require-trusted-types-for': "'script'", 'trusted-types': "'none'" });

const hidden = { detail: { hide: true } };

export function createConsoleRoutes({ demo, version }: ConsoleOptions) {
  let building: Promise<ConsoleBundle> | undefined;
  function bundle(): Promise<ConsoleBundle> {
    building ??= bundleConsole().catch((error: unknown) => {
      building = undefined;
      throw error;
    });
    return building;
  }

  return new Elysia({ name: 'routes.console' })
    .get('/', async ({ request }) => serveFile((await bundle()).page, request, 'revalidate', HEADERS), hidden)
    .get(
      '/assets/:name',
      async ({ request, params }) => {
        const asset = (await bundle()).assets.get(params.name);
        if (!asset) throw new AppError('not_found', 'There is no such asset.');
        return serveFile(asset, request, 'immutable');
      },
      hidden,
    )
    .get('/console/config', () => ({ demo, version }), {
      response: ConsoleConfig,
      detail: { tags: ['console'], security: [], summary: 'What the console knows before a login' },
    });
}
