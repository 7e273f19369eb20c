// A page whose login has ended, or whose server has started anew, cannot come back by itself: its socket is refused.
// While the connection is lost, it checks whether its login is still valid, and reloads if not, which leads to the login.
setInterval(async () => {
  const lost = document.getElementById("popup");
  if (!lost || lost.ariaHidden !== "false") return;
  try {
    const answer = await fetch(window.location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") window.location.reload();
  } catch {
    // the server is away: NiceGUI goes on trying
  }
}, 2000);
