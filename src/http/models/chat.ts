import { type Static, Type } from '@sinclair/typebox';
import { Id, IF_BUSY, SourceResource } from '../../contracts/index.ts';
import { conversationId, source, turn } from '../examples.ts';
import { queryInteger } from './common.ts';
import { oneOf } from './one-of.ts';
import { Filter } from './search.ts';

const Content = Type.String({ minLength: 1, maxLength: 32_000 });
const Model = Type.String({ minLength: 1, maxLength: 200, description: "The provider's name of it" });
const IfBusy = oneOf(IF_BUSY, {
  description:
    'While another turn of the conversation is unfinished: wait for it (`queue`, the default), stop it (`interrupt`), or answer 409 (`reject`)',
});
const Title = Type.String({ minLength: 1, maxLength: 200 });

export const NewConversation = Type.Object({ title: Type.Optional(Title) }, { example: { title: 'Leave' } });
export const RenamedConversation = Type.Object({ title: Title }, { example: { title: 'Paid leave' } });

export const NewMessage = Type.Object(
  {
    content: Content,
    client_message_id: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: 'Sent twice, it makes one turn' }),
    ),
    model: Type.Optional(Model),
    filter: Type.Optional(Filter),
    if_busy: Type.Optional(IfBusy),
  },
  { example: { content: 'How many days of leave do I have?', client_message_id: 'b7c1' } },
);
export type NewMessage = Static<typeof NewMessage>;

export const MessageQuery = Type.Object({
  wait: Type.Optional(Type.Boolean({ description: 'Answer when the turn has ended' })),
});

export const ChatBody = Type.Object(
  {
    message: Content,
    conversation_id: Type.Optional(Id),
    model_name: Type.Optional(Model),
    if_busy: Type.Optional(IfBusy),
  },
  { example: { message: 'How many days of leave do I have?' } },
);
export type ChatBody = Static<typeof ChatBody>;

export const ChatAnswer = Type.Object(
  { conversation_id: Id, turn_id: Id, reply: Type.String(), sources: Type.Array(SourceResource) },
  { example: { conversation_id: conversationId, turn_id: turn.id, reply: turn.text, sources: [source] } },
);
export type ChatAnswer = Static<typeof ChatAnswer>;

export const TurnEventsQuery = Type.Object({
  after: Type.Optional(queryInteger('after', { minimum: 0, description: 'The last `seq` that was seen' })),
});
