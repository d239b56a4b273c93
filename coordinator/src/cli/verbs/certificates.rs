//! `quorate certificates`: those of the clusters, and those that the coordinator issued.

use super::{Session, change, cluster};
use crate::cli::args::{
    CertificatesArgs, CertificatesCommand, CertificatesListArgs, OutputArgs, RenewArgs,
    SetNamesArgs,
};
use crate::cli::connect::{LONG, SHORT, call};
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::show;
use crate::cli::render::certificates::all_ok;
use crate::cli::text::clean;
use crate::cli::watch;
use quorate_proto::v1::{
    ListCertificatesRequest, Problem, RenewClusterCertificatesRequest, SetNamesRequest,
    ShowCertificatesRequest,
};

pub async fn run(session: &Session<'_>, args: CertificatesArgs) -> Outcome<Exit> {
    if args.command.is_some() && !args.list.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            Problem::new("usage", "the cluster and -o stand behind the subcommand")
                .next("such as: quorate certificates renew --cluster NAME"),
        ));
    }
    match args.command {
        None => list(session, args.list).await,
        Some(CertificatesCommand::List(args)) => list(session, args).await,
        Some(CertificatesCommand::Renew(args)) => renew(session, args).await,
        Some(CertificatesCommand::SetNames(args)) => set_names(session, args).await,
        Some(CertificatesCommand::Issued(output)) => issued(session, output).await,
    }
}

async fn list(session: &Session<'_>, args: CertificatesListArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let request = ShowCertificatesRequest {
        cluster: args.name.or(args.cluster).unwrap_or_default(),
    };
    let answer = call(&context, SHORT, client.show_certificates(request)).await?;
    show(session.console, args.output.output, &answer)?;
    Ok(if all_ok(&answer) {
        Exit::Ok
    } else {
        Exit::Pending
    })
}

async fn issued(session: &Session<'_>, output: OutputArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let request = ListCertificatesRequest {};
    let answer = call(&context, SHORT, client.list_certificates(request)).await?;
    show(session.console, output.output, &answer)?;
    Ok(Exit::Ok)
}

async fn renew(session: &Session<'_>, args: RenewArgs) -> Outcome<Exit> {
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let cluster = cluster(&context, &mut client, args.cluster.cluster).await?;
    let whose = match args.nodes.as_slice() {
        [] => "every node".to_owned(),
        nodes => nodes.join(", "),
    };
    let shown = format!(
        "This renews the certificates of {} in {}, with new end and the same names.\n\
         Members go one at a time: what serves restarts. Authorities stay as they are.",
        clean(&whose),
        clean(&cluster)
    );
    change::present(console, &shown, &args.change);
    change::ask(console, "\nRenew them?", &args.change)?;
    let leave = watch::interrupt();
    let request = RenewClusterCertificatesRequest {
        cluster,
        nodes: args.nodes,
    };
    let answer = client.renew_cluster_certificates(request);
    let answer = call(&context, LONG, answer).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
}

async fn set_names(session: &Session<'_>, args: SetNamesArgs) -> Outcome<Exit> {
    if let Some(both) = args.add.iter().find(|name| args.drop.contains(name)) {
        let what = format!("{} is both to be added and to be dropped", clean(both));
        return Err(Failure::new(
            Exit::Usage,
            Problem::new("names-unclear", what),
        ));
    }
    let console = session.console;
    let (context, mut client) = session.open().await?;
    let cluster = cluster(&context, &mut client, args.cluster.cluster).await?;
    let mut shown = format!(
        "This makes new serving certificates for the members of {}, one at a time:\n",
        clean(&cluster)
    );
    for (mark, names) in [("+", &args.add), ("-", &args.drop)] {
        for name in names {
            shown.push_str(&format!("  {mark} {}\n", clean(name)));
        }
    }
    change::present(console, &shown, &args.change);
    change::ask(console, "\nChange the names?", &args.change)?;
    let leave = watch::interrupt();
    let request = SetNamesRequest {
        cluster,
        add: args.add,
        drop: args.drop,
    };
    let answer = call(&context, LONG, client.set_names(request)).await?;
    change::follow(console, &context, client, answer, args.change, leave).await
}
