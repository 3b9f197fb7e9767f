/** All kinds of sources. Another one is another line here. */
import type { SourceProvider } from '../../contracts/index.ts';
import type { Clock } from '../../kernel/clock.ts';
import { createCalendarProvider } from './calendar.ts';
import { type AllowedFolder, createFolderProvider } from './folder.ts';
import { createSourceHttp } from './http.ts';
import { createMailProvider } from './mail.ts';
import { createReach, type ReachOptions } from './reach.ts';
import { createS3Provider } from './s3.ts';
import { createWebProvider } from './web.ts';

export interface SourceProvidersOptions extends ReachOptions {
  clock: Clock;
  folders: readonly AllowedFolder[];
}

/** By kind. */
export function createSourceProviders(options: SourceProvidersOptions): ReadonlyMap<string, SourceProvider> {
  const { clock, folders, allowPrivate } = options;
  const reach = createReach(options);
  const http = createSourceHttp({ reach });
  const providers = [
    createWebProvider({ http, clock }),
    createMailProvider({ http, reach, allowPlain: allowPrivate }),
    createCalendarProvider({ http }),
    createS3Provider({ http }),
    createFolderProvider({ folders }),
  ];
  return new Map(providers.map((provider) => [provider.kind, provider]));
}
