/** What a signed-in person works with: one socket and the models that live on it. */
import type { Client } from '../client/client.ts';
import type { Realtime } from '../client/realtime.ts';
import { type ChatModel, createChatModel } from './model/chat.ts';
import { createDocumentsModel, type DocumentsModel } from './model/documents.ts';

export interface Workspace {
  client: Client;
  realtime: Realtime;
  chat: ChatModel;
  documents: DocumentsModel;
  dispose(): void;
}

export function createWorkspace(client: Client): Workspace {
  const realtime = client.connect();
  const chat = createChatModel({
    client,
    realtime,
    uuid: client.uuid,
    // A hidden window paints nothing, so the text would stand still until it is looked at.
    soon: (flush) => void (document.hidden ? setTimeout(flush, 100) : requestAnimationFrame(flush)),
  });
  const documents = createDocumentsModel({ client, realtime });
  const nudge = () => realtime.nudge();
  window.addEventListener('online', nudge);
  return {
    client,
    realtime,
    chat,
    documents,
    dispose() {
      window.removeEventListener('online', nudge);
      chat.dispose();
      documents.dispose();
      realtime.close();
    },
  };
}
