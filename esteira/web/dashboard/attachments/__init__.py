"""Parts shared by the pages that show attachments: names, badges, links, previews, actions."""
