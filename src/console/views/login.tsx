import { useState } from 'preact/hooks';
import type { Client } from '../../client/client.ts';
import { ClientError } from '../../client/errors.ts';
import { describe } from '../model/problem.ts';
import { wordsFor } from '../texts.ts';
import { useTexts } from './context.ts';
import { Logo } from './icons.tsx';

export interface DemoLogin {
  tenant: string;
  email: string;
  password: string;
}

/** What an invitation's link says (`/#/join?tenant=…&email=…&invite=…`); in the fragment, which no server is sent. */
export interface InvitationLink {
  tenant: string;
  email: string;
  invite: string;
}

/** Null for an address that is no invitation. */
export function readInvitation(hash: string): InvitationLink | null {
  if (!hash.startsWith('#/join?')) return null;
  const said = new URLSearchParams(hash.slice('#/join?'.length));
  const [tenant, email, invite] = ['tenant', 'email', 'invite'].map((name) => said.get(name) ?? '');
  return tenant && email && invite ? { tenant, email, invite } : null;
}

interface LoginProps {
  client: Client;
  demo: DemoLogin | null;
  /** Fills the form. */
  invitation: InvitationLink | null;
  /** Why somebody who was in is here again. */
  notice: string | null;
}

export function Login({ client, demo, invitation, notice }: LoginProps) {
  const texts = useTexts();
  const [mode, setMode] = useState<'login' | 'register'>(invitation ? 'register' : 'login');
  const [email, setEmail] = useState(invitation?.email ?? demo?.email ?? '');
  const [password, setPassword] = useState(invitation ? '' : (demo?.password ?? ''));
  const [tenant, setTenant] = useState(invitation?.tenant ?? '');
  const [invite, setInvite] = useState(invitation?.invite ?? '');
  const [invited, setInvited] = useState(invitation !== null);
  const [askTenant, setAskTenant] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const registering = mode === 'register';

  const choose = (next: 'login' | 'register') => {
    setMode(next);
    setFailure(null);
    setEmail(next === 'login' ? (demo?.email ?? email) : email === demo?.email ? '' : email);
    setPassword(next === 'login' ? (demo?.password ?? '') : '');
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      if (registering) await client.auth.register({ tenant, email, password, ...(invited && invite && { invite }) });
      else await client.auth.login({ email, password, ...(askTenant && tenant && { tenant }) });
    } catch (error) {
      const problem = describe(error);
      if (!registering && problem.code === 'conflict') {
        setAskTenant(true);
        setFailure(texts.tenantAmbiguous);
      } else {
        const fields = error instanceof ClientError ? error.fields.map((field) => field.message) : [];
        setFailure([wordsFor(texts, problem), ...fields].join(' '));
      }
      setBusy(false);
    }
  };

  return (
    <main class="login">
      <div class="login-card">
        <div class="login-brand">
          <Logo />
          <h1>DreamHub</h1>
        </div>
        <p class="muted">{texts.tagline}</p>
        <div class="segments" role="tablist">
          <button type="button" role="tab" aria-selected={!registering} onClick={() => choose('login')}>
            {texts.login}
          </button>
          <button type="button" role="tab" aria-selected={registering} onClick={() => choose('register')}>
            {texts.register}
          </button>
        </div>
        {notice && (
          <p class="notice" role="status">
            {notice}
          </p>
        )}
        <form onSubmit={submit}>
          {(registering || askTenant) && (
            <label class="field">
              <span>{texts.tenant}</span>
              <input
                name="organization"
                autocomplete="organization"
                required
                maxLength={100}
                value={tenant}
                onInput={(event) => setTenant(event.currentTarget.value)}
              />
              {registering && <small>{texts.tenantHint}</small>}
            </label>
          )}
          <label class="field">
            <span>{texts.email}</span>
            <input
              type="email"
              name="email"
              autocomplete="username"
              required
              value={email}
              onInput={(event) => setEmail(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>{texts.password}</span>
            <input
              type="password"
              name="password"
              autocomplete={registering ? 'new-password' : 'current-password'}
              required
              minLength={registering ? 8 : 1}
              value={password}
              onInput={(event) => setPassword(event.currentTarget.value)}
            />
            {registering && <small>{texts.passwordHint}</small>}
          </label>
          {registering && (
            <label class="check">
              <input type="checkbox" checked={invited} onChange={(event) => setInvited(event.currentTarget.checked)} />
              <span>{texts.haveInvite}</span>
            </label>
          )}
          {registering && invited && (
            <label class="field">
              <span>{texts.invite}</span>
              <input
                name="invite"
                autocomplete="off"
                value={invite}
                onInput={(event) => setInvite(event.currentTarget.value)}
              />
            </label>
          )}
          {!registering && demo && email === demo.email && <p class="notice">{texts.demo}</p>}
          {failure && (
            <p class="failure" role="alert">
              {failure}
            </p>
          )}
          <button type="submit" class="button primary wide" disabled={busy}>
            {registering ? texts.register : texts.login}
          </button>
        </form>
      </div>
    </main>
  );
}
