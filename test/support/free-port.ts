/**
 * A port of this machine that nobody listens on at the moment. Below those that the system gives to outgoing connections,
 * so that it is still free when its server was killed and is started again.
 */
const [FIRST, LAST] = [15_000, 30_000];

export function freePort(): number {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    try {
      Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } }).stop(true);
      return port;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    }
  }
}
