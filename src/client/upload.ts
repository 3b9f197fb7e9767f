/**
 * Sending a file. Browsers report the progress of a request body only through XMLHttpRequest, so that is used where it
 * exists; elsewhere `fetch` sends it and progress jumps from nothing to all.
 */
import { ClientError, errorOfAnswer } from './errors.ts';
import type { Http } from './http.ts';
import type { Session } from './session.ts';
import type { UploadAnswer, Visibility } from './types.ts';

export interface UploadOptions {
  /** Needed for a `Blob` without a name of its own. */
  filename?: string;
  title?: string;
  source_type?: string;
  visibility?: Visibility;
  metadata?: Record<string, unknown>;
  /** 0…9, 9 is most urgent. */
  priority?: number;
  /** Bytes sent so far, of so many. */
  onProgress?(sent: number, total: number): void;
  signal?: AbortSignal;
}

export type Upload = (file: Blob, options?: UploadOptions) => Promise<UploadAnswer>;

export interface UploaderOptions {
  http: Http;
  session: Session;
  XMLHttpRequest: typeof XMLHttpRequest | undefined;
}

export function createUpload({ http, session, XMLHttpRequest }: UploaderOptions): Upload {
  return async (file, options = {}) => {
    if (!XMLHttpRequest) {
      options.onProgress?.(0, file.size);
      const answer = await http.json<UploadAnswer>('POST', '/upload', {
        form: formOf(file, options),
        signal: options.signal,
      });
      options.onProgress?.(file.size, file.size);
      return answer;
    }
    const address = http.url('/upload');
    const token = await session.token();
    let answer = await post(new XMLHttpRequest(), address, token, file, options);
    if (answer.status === 401) {
      answer = await post(new XMLHttpRequest(), address, await session.renew(token), file, options);
    }
    if (answer.status < 200 || answer.status > 299) {
      throw errorOfAnswer(answer.status, answer.text, answer.retryAfter);
    }
    return JSON.parse(answer.text) as UploadAnswer;
  };
}

/** The file goes last: the server reads the fields that decide about it first. */
function formOf(file: Blob, options: UploadOptions): FormData {
  const form = new FormData();
  if (options.title !== undefined) form.set('title', options.title);
  if (options.source_type !== undefined) form.set('source_type', options.source_type);
  if (options.visibility !== undefined) form.set('visibility', options.visibility);
  if (options.metadata !== undefined) form.set('metadata', JSON.stringify(options.metadata));
  if (options.priority !== undefined) form.set('priority', String(options.priority));
  const name = options.filename ?? ('name' in file && typeof file.name === 'string' ? file.name : 'file');
  form.set('file', file, name);
  return form;
}

interface RawAnswer {
  status: number;
  text: string;
  retryAfter: string | null;
}

function post(xhr: XMLHttpRequest, url: string, token: string, file: Blob, options: UploadOptions): Promise<RawAnswer> {
  const { signal, onProgress } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => xhr.abort();
    xhr.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress?.(event.loaded, event.total);
    };
    xhr.onload = () =>
      resolve({ status: xhr.status, text: xhr.responseText, retryAfter: xhr.getResponseHeader('retry-after') });
    xhr.onerror = () => reject(new ClientError('network', 'The file could not be sent.'));
    xhr.onabort = () => reject(signal?.reason ?? new ClientError('closed', 'The upload was stopped.'));
    xhr.onloadend = () => signal?.removeEventListener('abort', abort);
    signal?.addEventListener('abort', abort, { once: true });
    xhr.open('POST', url);
    xhr.setRequestHeader('accept', 'application/json');
    xhr.setRequestHeader('authorization', `Bearer ${token}`);
    xhr.send(formOf(file, options));
  });
}
