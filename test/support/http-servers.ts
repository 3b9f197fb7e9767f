/** The HTTP app over scripted services, on a real socket. */
import type { AppDeps } from '../../src/app.ts';
import type { Hub } from '../../src/contracts/index.ts';
import { createHttpApp, type HttpApp } from './http-app.ts';

export interface Running extends HttpApp {
  url: string;
  port: number;
  /** A request over the network, with a valid token unless `headers` says otherwise. */
  ask(
    method: string,
    path: string,
    init?: { body?: BodyInit; headers?: Record<string, string>; signal?: AbortSignal },
  ): Promise<Response>;
}

/** `serve` starts one; `close` ends all that were started since the last time. */
export function createHttpServers() {
  const closing: (() => Promise<void>)[] = [];

  function serve(...args: Parameters<typeof createHttpApp>): Running {
    const made = createHttpApp(...args);
    made.app.listen({ port: 0, hostname: '127.0.0.1' });
    const port = made.app.server?.port ?? 0;
    closing.push(async () => {
      await made.app.stop(true);
    });
    const url = `http://127.0.0.1:${port}`;
    return {
      ...made,
      url,
      port,
      async ask(method, path, init = {}) {
        const headers = { authorization: `Bearer ${await made.token()}`, ...init.headers };
        return fetch(url + path, { ...init, method, headers });
      },
    };
  }

  return {
    serve,
    async close() {
      await Promise.all(closing.splice(0).map((close) => close()));
    },
  };
}

export const hubThat = (subscribe: Hub['subscribe']): Partial<AppDeps> => ({ hub: { subscribe } });
